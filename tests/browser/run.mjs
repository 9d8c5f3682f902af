// Runs the browser tests, and once more the files of which a test failed: they run in real time, and a busy machine may pause a
// page for longer than a test waits. What passes only the second time is printed as FLAKY.
//
// node run.mjs [FILE...]

import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { run } from "node:test";
import { tap } from "node:test/reporters";

/** Files that run beside each other at first: most of their time they wait. Those that failed run alone. */
const BESIDE = 2;
/** Longest time of one file: two minutes are usual for the longest when it runs alone. */
const FILE_LIMIT_MS = 480_000;

/** The tests of `files` that failed, by name, each with its file. */
async function failures(files, concurrency) {
  const failed = new Map();
  const events = run({ files, concurrency, timeout: FILE_LIMIT_MS });
  events.on("test:fail", ({ name, file, nesting }) => {
    if (nesting === 0) failed.set(name, file ?? resolve(name));
  });
  for await (const line of events.compose(tap)) process.stdout.write(line);
  return failed;
}

const here = import.meta.dirname;
const named = process.argv.slice(2).map((file) => resolve(file));
const all = readdirSync(here).filter((file) => file.endsWith(".test.mjs")).sort();
const first = await failures(named.length > 0 ? named : all.map((file) => join(here, file)), BESIDE);
const files = [...new Set(first.values())];
const again = files.length > 0 ? await failures(files, 1) : new Map();
for (const name of first.keys()) if (!again.has(name)) console.log(`FLAKY ${name}`);
for (const name of again.keys()) console.log(`FAILED ${name}`);
process.exitCode = again.size > 0 ? 1 : 0;

// Fails when the JavaScript of the page outgrows its budgets, gzipped: what the first page waits for, and each part that is
// fetched when it is first looked at. All parts together have no budget: nobody waits for them at once.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

/** What is loaded before anything is seen, bytes. */
const FIRST_MAX = 80_000;
/** A part that is fetched later, bytes: half a second of a slow phone (64 kB/s). The charts, the largest, are near it. */
const PART_MAX = 32_000;
const assets = join(dirname(fileURLToPath(import.meta.url)), "..", "dist", "assets");
const size = (name) => gzipSync(readFileSync(join(assets, name)), { level: 9 }).length;
const scripts = readdirSync(assets).filter((f) => f.endsWith(".js"));
const html = readFileSync(join(assets, "..", "index.html"), "utf8");
const sum = (files) => files.reduce((a, f) => a + size(f), 0);
for (const f of scripts) console.log(f, size(f));
const first = sum(scripts.filter((f) => html.includes(f)));
const later = scripts.filter((f) => !html.includes(f)).map(size);
console.log(
  `first load ${first} of ${FIRST_MAX} bytes, largest part ${Math.max(...later)} of ${PART_MAX}, all ${sum(scripts)}`,
);
if (first === 0) throw new Error("index.html loads none of the scripts in dist/assets");
if (first > FIRST_MAX || later.some((part) => part > PART_MAX)) {
  console.error("the page is over its budget");
  process.exitCode = 1;
}

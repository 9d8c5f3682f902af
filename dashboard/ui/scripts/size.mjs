// Fails when the JavaScript of the page outgrows its budgets, gzipped: what the first page waits for, and all of it.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

/** What is loaded before anything is seen, bytes. */
const FIRST_MAX = 80_000;
/** With what is fetched beside and after it (charts, the other pages): what a phone that opens every page pays. */
const ALL_MAX = 120_000;
const assets = join(dirname(fileURLToPath(import.meta.url)), "..", "dist", "assets");
const size = (name) => gzipSync(readFileSync(join(assets, name)), { level: 9 }).length;
const scripts = readdirSync(assets).filter((f) => f.endsWith(".js"));
const html = readFileSync(join(assets, "..", "index.html"), "utf8");
const sum = (files) => files.reduce((a, f) => a + size(f), 0);
for (const f of scripts) console.log(f, size(f));
const first = sum(scripts.filter((f) => html.includes(f)));
const all = sum(scripts);
console.log(`first load ${first} of ${FIRST_MAX} bytes, all ${all} of ${ALL_MAX}`);
if (first === 0) throw new Error("index.html loads none of the scripts in dist/assets");
if (first > FIRST_MAX || all > ALL_MAX) {
  console.error("the page is over its budget");
  process.exitCode = 1;
}

// Fails when what the first page loads outgrows its budget: 80 KB of JavaScript, gzipped.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const BUDGET = 80_000;
const assets = join(dirname(fileURLToPath(import.meta.url)), "..", "dist", "assets");
const size = (name) => gzipSync(readFileSync(join(assets, name)), { level: 9 }).length;
const scripts = readdirSync(assets).filter((f) => f.endsWith(".js"));
for (const f of scripts) console.log(f, size(f));
const first = scripts.filter((f) => f.startsWith("index-")).reduce((a, f) => a + size(f), 0);
if (first > BUDGET) {
  console.error(`first load is ${first} bytes gzipped, over ${BUDGET}`);
  process.exitCode = 1;
}

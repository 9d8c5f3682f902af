// Runs axe (WCAG 2.2 AA) over the pages fed by the test feeder; fails on any violation or console error.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { open, startBrowser, startFeeder } from "./browser.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const feeder = await startFeeder("--nodes", "248");
const browser = await startBrowser();
let failures = 0;
try {
  for (const path of ["/", "/nodes/node-r03-19", "/nodes", "/cluster"]) {
    for (const theme of ["dark", "light"]) {
      for (const [width, height] of [
        [1440, 900],
        [390, 844],
      ]) {
        const { page, problems, close } = await open(browser, feeder.url + path, { width, height, theme });
        await page.waitForTimeout(800);
        // Evaluated by the debugger, so the page's own policy stays as strict as in use.
        await page.evaluate(axe);
        const { violations } = await page.evaluate(
          (values) => window.axe.run(document, { runOnly: { type: "tag", values } }),
          TAGS,
        );
        for (const v of violations) {
          console.log(path, theme, width, v.id, v.help);
          for (const n of v.nodes.slice(0, 5))
            console.log("   ", n.html.slice(0, 160), n.failureSummary?.split("\n")[1]);
        }
        for (const p of problems) console.log(path, theme, width, "console:", p);
        failures += violations.length + problems.length;
        await close();
      }
    }
  }
} finally {
  await browser.close();
  feeder.stop();
}
console.log(failures === 0 ? "axe: nothing found" : `axe: ${failures} problems`);
process.exitCode = failures === 0 ? 0 : 1;

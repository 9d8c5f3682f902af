// The page in a real browser against a real `starling up`: numbers move, nothing errs, axe finds nothing, a dead
// server is told as such, and what the page says of this host is what /proc says.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { after, before, test } from "node:test";
import { eventually, openPage, screenshots, startBrowser, startStarling } from "./starling.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let starling;
let browser;
before(async () => {
  [starling, browser] = await Promise.all([startStarling("--aggregators", "3", "--nodes", "6"), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await starling?.stop();
});

/** Label -> text of the summary cards. */
const cards = (page) =>
  page.$$eval(".kpi", (all) => Object.fromEntries(all.map((k) => [k.querySelector("h2").textContent, k.querySelector(".v").textContent])));

/** What the pill beside the clock says: Live, Paused, Stale, ... */
const pill = (page) => page.$eval(".live span", (span) => span.textContent);

const says = (page, word) => eventually(`the pill says ${word}`, async () => (await pill(page)).startsWith(word));

const hasDigits = (text) => /\d/.test(text ?? "");

/** Runs axe in the page; scripts come from the test, which the page's own policy would not allow. */
async function violations(page) {
  await page.evaluate(axe);
  const result = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }));
  return result.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`);
}

for (const [theme, width, height] of [["dark", 1440, 900], ["light", 1440, 900], ["dark", 390, 844], ["light", 390, 844]]) {
  test(`overview and node page, ${theme}, ${width} wide`, async () => {
    const { page, context, faults } = await openPage(browser, starling.url, { theme, width, height });
    await eventually("every card has a number", async () => {
      const now = await cards(page);
      return ["Requests", "CPU", "Memory", "Connections"].every((label) => hasDigits(now[label])) && now;
    });
    await eventually("six nodes report", () => page.evaluate(() => /6 reporting/.test(document.body.textContent)));
    const first = await page.$eval(".kpis", (row) => row.textContent);
    await eventually("numbers change", async () => (await page.$eval(".kpis", (row) => row.textContent)) !== first);
    assert.deepEqual(await violations(page), []);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), "the page scrolls sideways");
    await page.screenshot({ path: `${screenshots}/overview-${width}-${theme}.png`, fullPage: true });

    await page.goto(`${starling.url}/nodes`);
    const href = await eventually("a simulated node is listed", () =>
      page.$$eval("a[href^='/nodes/sim-']", (links) => links[0]?.getAttribute("href")));
    assert.deepEqual(await violations(page), []);
    await page.screenshot({ path: `${screenshots}/nodes-${width}-${theme}.png`, fullPage: true });
    await page.goto(starling.url + href);
    await eventually("the node's cards have numbers", async () => hasDigits((await cards(page)).CPU));
    assert.match(await page.evaluate(() => document.body.textContent), /simulated/i, "a replay is labelled");
    assert.deepEqual(await violations(page), []);
    await page.screenshot({ path: `${screenshots}/node-${width}-${theme}.png`, fullPage: true });
    assert.deepEqual(faults, []);
    await context.close();
  });
}

test("what is shown of this host is what the kernel says", async () => {
  const nodes = await (await fetch(`${starling.url}/api/v1/nodes`)).json();
  const host = nodes.nodes.find((node) => !node.simulated);
  const memory = await (await fetch(`${starling.url}/api/v1/system/memory?node=${host.nodeId ?? host.id}`)).json();
  const total = Number(/MemTotal:\s+(\d+)/.exec(readFileSync("/proc/meminfo", "utf8"))[1]) * 1024;
  assert.equal(memory.totalMemory, total);
  const cpu = await (await fetch(`${starling.url}/api/v1/system/cpu?node=${host.nodeId ?? host.id}`)).json();
  assert.equal(cpu.cores.length, cpus().length);
});

test("pause holds the view and the keyboard works", async () => {
  const { page, context } = await openPage(browser, starling.url);
  await eventually("numbers are there", async () => hasDigits((await cards(page)).CPU));
  await page.keyboard.press("Space");
  await says(page, "Paused");
  const held = await page.$eval(".kpis", (row) => row.textContent);
  await eventually("seconds pass", async () => /[3-9]/.test(await pill(page)));
  assert.equal(await page.$eval(".kpis", (row) => row.textContent), held, "a paused view changed");
  await page.keyboard.press(".");
  await says(page, "Live");
  await context.close();
});

test("a server that dies is told, and its return fills the page again", async () => {
  const own = await startStarling();
  const { page, context } = await openPage(browser, own.url);
  await eventually("numbers are there", async () => hasDigits((await cards(page)).CPU));
  own.child.kill("SIGSTOP");
  await says(page, "Stale");
  await page.screenshot({ path: `${screenshots}/lost-1440-dark.png` });
  own.child.kill("SIGCONT");
  await says(page, "Live");
  await own.stop();
  await eventually("a banner says what happens next", () =>
    page.evaluate(() => /Reconnecting/.test(document.querySelector(".banner")?.textContent ?? "")));
  await context.close();
});

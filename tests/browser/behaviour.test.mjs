// Uses the page as a person would, against a real `starling up`: pause, zoom, pin, table, theme, keyboard, other pages.
// And leaves it open for a while: a page on a wall stays open for weeks.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { cards, eventually, hasDigits, openPage, says, startBrowser, startStarling, textOf, until } from "./harness.mjs";

/** What the page's heap may grow by while it is left alone, MiB: the rings are full from the start. */
const GROWTH_MAX_MIB = 1;
const LEFT_OPEN_MS = 20_000;

let starling;
let browser;
before(async () => {
  [starling, browser] = await Promise.all([startStarling("--nodes", "6"), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await starling?.stop();
});

/** Opens the overview, gives it to `use` once numbers are there, and fails on anything the console said. */
async function onOverview(use) {
  const { page, context, faults } = await openPage(browser, starling.url);
  await eventually("numbers are there", async () => hasDigits((await cards(page)).CPU));
  await use(page);
  assert.deepEqual(faults, [], "the console is clean");
  await context.close();
}

/** Keys one after another as a person types: without waiting until the page has dealt with one, which may be drawing. */
const typed = (page, keys) => Promise.all([...keys].map((key) => page.keyboard.press(key)));

const clock = (page) => textOf(page, ".live time");
const address = async (page) => page.url();
const chips = (page) => page.locator(".pinchip").count();

test("the second moves, pause holds the view, live goes on", () =>
  onOverview(async (page) => {
    const second = await clock(page);
    await until("the second moves", () => clock(page), (t) => t !== second);
    await page.keyboard.press("Space");
    await says(page, "Paused");
    const held = await page.$eval(".kpis", (row) => row.textContent);
    await until("the pill counts", () => textOf(page, ".live > span"), (t) => /[3-9]\D*s behind/.test(t));
    assert.equal(await page.$eval(".kpis", (row) => row.textContent), held, "a paused view changed");
    await page.keyboard.press("Space");
    await says(page, "Live");
    await page.keyboard.press("Space");
    await says(page, "Paused");
    await page.keyboard.press(".");
    await says(page, "Live");
  }));

test("a chart zooms by dragging, pins by a click, and reads as a table", () =>
  onOverview(async (page) => {
    await eventually("the chart is drawn", () => page.locator(".ch canvas").count());
    const chart = await page.locator(".ch").first().boundingBox();
    await page.mouse.move(chart.x + 200, chart.y + 80);
    await page.mouse.down();
    await page.mouse.move(chart.x + 400, chart.y + 80, { steps: 4 });
    await page.mouse.up();
    await until("the zoom is shown", () => chips(page), (n) => n === 1);
    await page.keyboard.press(".");
    await until("the zoom is left", () => chips(page), (n) => n === 0);
    await page.mouse.click(chart.x + 300, chart.y + 80);
    await until("the pin is in the address", () => address(page), (u) => u.includes("at="));
    await eventually("the crosshair is drawn", () => page.locator(".hair:not([hidden])").count());
    await page.keyboard.press("Escape");
    await until("the pin is free", () => address(page), (u) => !u.includes("at="));
    // Not requests: none are sent here.
    await page.locator('button[aria-label="Network: view as table"]').click();
    await until("the table has numbers", () => textOf(page, ".scroll tbody tr"), hasDigits);
    await page.locator('button[aria-label="Network: view as chart"]').click();
  }));

test("the theme is remembered", () =>
  onOverview(async (page) => {
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    await page.keyboard.press("d");
    assert.equal(await theme(), "light");
    await page.reload();
    await page.waitForSelector(".kpi .v");
    assert.equal(await theme(), "light");
  }));

test("the keyboard goes from the map to a node, to the next, to the table", () =>
  onOverview(async (page) => {
    await page.locator(".hm-focus").focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    const before = await until("the node opens", () => address(page), (u) => /\/nodes\/[^/]+$/.test(u));
    await until("another page begins at its head", () => page.evaluate(() => document.activeElement.tagName), (tag) => tag === "H1");
    // A few cores are lines, more are strips.
    await until("its cores are drawn", () => page.locator(".p", { hasText: "CPU per core" }).locator("canvas").count(), (n) => n === 1);
    await page.keyboard.press("]");
    await until("the next node opens", () => address(page), (u) => /\/nodes\/[^/]+$/.test(u) && u !== before);
    await typed(page, "gn");
    const rows = () => page.locator("table.nodes tbody th").count();
    await until("the table of nodes opens", rows, (n) => n === 6);
    await page.locator("#find").fill("sim-03");
    await until("the filter applies", rows, (n) => n === 1);
  }));

test("a shortcut of two keys waits for a busy page", () =>
  onOverview(async (page) => {
    // It takes the first key later than the second one may come.
    await page.evaluate(() => {
      const busy = () => {
        const end = performance.now() + 1_500;
        while (performance.now() < end);
      };
      window.addEventListener("keydown", busy, { capture: true, once: true });
    });
    await page.keyboard.press("g");
    await page.keyboard.press("n");
    await until("the table of nodes opens", () => page.locator("table.nodes tbody th").count(), (n) => n === 6);
  }));

test("any label groups the map and sorts the table", () =>
  onOverview(async (page) => {
    await page.getByLabel("Group by").selectOption("role");
    await until("the map is grouped", () => textOf(page, "section:has(.hm) .note"), (note) => / by role/.test(note));
    assert.match(page.url(), /by=role/);
    await typed(page, "gn");
    // The field belongs to the page that is shown: what is written before the next one is there is gone with the old one.
    await until("the nodes are listed", () => page.locator("table.nodes tbody tr").count(), (n) => n > 0);
    await page.locator("#find").fill("role:web");
    const roles = () => page.$$eval("table.nodes tbody tr", (rows) => rows.map((row) => row.textContent));
    await until("only web nodes are left", roles, (rows) => rows.length > 0 && rows.every((row) => row.includes("web")));
    await page.locator("table.nodes thead button", { hasText: "rack" }).click();
    await until("the order is in the address", () => address(page), (u) => /sort=label%3Arack/.test(u));
  }));

test("Escape closes the list of shortcuts, and keys wait while it is open", () =>
  onOverview(async (page) => {
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    const before = await theme();
    await page.keyboard.press("?");
    await until("the list is open", () => page.locator("dialog.help[open]").count(), (n) => n === 1);
    await page.keyboard.press("d");
    assert.equal(await theme(), before, "a key acted behind the list");
    await page.keyboard.press("Escape");
    await until("the list is closed", () => page.locator("dialog.help[open]").count(), (n) => n === 0);
  }));

test("a page that is left open does not grow", () =>
  onOverview(async (page) => {
    const debuggerSession = await page.context().newCDPSession(page);
    await debuggerSession.send("Performance.enable");
    const heapMiB = async () => {
      await debuggerSession.send("HeapProfiler.collectGarbage");
      const { metrics } = await debuggerSession.send("Performance.getMetrics");
      return metrics.find((m) => m.name === "JSHeapUsedSize").value / 2 ** 20;
    };
    await page.waitForTimeout(5000);
    const early = await heapMiB();
    await page.waitForTimeout(LEFT_OPEN_MS);
    const grown = (await heapMiB()) - early;
    assert.ok(grown < GROWTH_MAX_MIB, `the heap grew by ${grown.toFixed(1)} MiB in ${LEFT_OPEN_MS / 1000} s`);
  }));

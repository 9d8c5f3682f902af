// Explore on a real `starling up`: finding series, several on one chart and one unit on an axis, queries in PromQL with the
// place of a mistake, everything in the address, and the file.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import {
  DESKTOP, fitsInWidth, LOOKS, onPage, openPage, screenshots, startBrowser, startStarling, textOf, until, violations,
} from "./harness.mjs";

let starling;
let browser;
before(async () => {
  [starling, browser] = await Promise.all([startStarling("--aggregators", "2", "--nodes", "4"), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await starling?.stop();
});

const on = (path, use, size = DESKTOP) => onPage(browser, starling.url + path, use, size);
const asked = (...lines) => `/explore?${new URLSearchParams(lines.map((line) => ["s", line]))}`;
const charts = (page) => page.$$eval(".explore .ch[role=img]", (all) => all.map((is) => is.getAttribute("aria-label")));
/** Sentences of the charts once each has values. */
const drawn = (page, n) =>
  until(`${n} charts are drawn`, () => charts(page), (all) => all.length === n && all.every((is) => /\d/.test(is) && !/no data/.test(is)));
const rows = (page) => page.$$eval(".explore-lines > li", (all) => all.map((is) => is.textContent));
const lines = (page) => new URL(page.url()).searchParams.getAll("s");

for (const look of LOOKS) {
  test(`axe finds nothing on Explore, ${look.theme}, ${look.width} wide`, () =>
    on(asked("system.network.io", "system.cpu.busy on each", "promql max(system_load_average_1m_ratio)"), async (page) => {
      await drawn(page, 3);
      assert.deepEqual(await violations(page), []);
      assert.ok(await fitsInWidth(page));
      await page.screenshot({ path: `${screenshots}/explore-${look.width}-${look.theme}.png`, fullPage: true });
      await page.locator("[role=combobox]").last().focus();
      assert.deepEqual(await violations(page), [], "with the list open");
    }, look));
}

test("a series is found while typing, by keyboard alone, and each step leads back", () =>
  on("/", async (page) => {
    await page.keyboard.press("g");
    await page.keyboard.press("e");
    const field = page.locator('[aria-label="Add a series by name, unit or attribute"][role=combobox]');
    await field.waitFor();
    // Also of a page that had to be loaded first.
    await until("the page begins at its head", () => page.evaluate(() => document.activeElement.textContent), (text) => text === "Explore");
    await field.focus();
    await page.keyboard.type("network recei");
    const options = () => page.$$eval(".explore-add [role=option]:not([hidden])", (all) => all.map((is) => is.textContent));
    await until("the list holds what fits", options, ([is]) => is?.startsWith("system.network"));
    // Signs of a pattern are letters like others.
    await page.keyboard.type("((a+)+");
    await until("nothing holds this", () => textOf(page, ".combo-more"), (text) => /No series/.test(text ?? ""));
    await field.fill("memory usage");
    await until("another word, another list", options, (all) => all.some((is) => is.startsWith("system.memory.usage")));
    await field.fill("system.network.io");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    const [one] = await drawn(page, 1);
    assert.match(one, /system\.network\.io .*receive .*transmit/);
    assert.deepEqual(lines(page), ["system.network.io"]);
    // Of one attribute, then of a node.
    await page.locator('[aria-label="system.network.io: network.io.direction"]').selectOption("receive");
    await until("one series", () => rows(page), ([row]) => /1 series/.test(row ?? ""));
    assert.deepEqual(lines(page), ['system.network.io{network.io.direction="receive"}']);
    await page.locator('[aria-label="system.network.io: of"]').selectOption("each");
    await until("a line for each node", () => charts(page), ([is]) => /sim-01/.test(is ?? ""));
    await page.reload();
    await until("the address holds it", () => charts(page), ([is]) => /sim-01/.test(is ?? ""));
    await page.goBack();
    await page.goBack();
    await until("two acts back", async () => lines(page), (all) => all.join() === "system.network.io");
    await page.goBack();
    assert.deepEqual(lines(page), []);
    await page.waitForSelector(".explore-examples");
  }));

test("the name of a node may be typed slowly", () =>
  on(asked("system.cpu.busy"), async (page) => {
    await drawn(page, 1);
    await page.locator('[aria-label="system.cpu.busy: of"]').selectOption("node:");
    await page.locator('[aria-label="system.cpu.busy: of: node"]').focus();
    await page.keyboard.type("sim-0");
    // The page is drawn again each second.
    await page.waitForTimeout(2500);
    await page.keyboard.type("1");
    await page.keyboard.press("Enter");
    await until("it is in the address", async () => lines(page), ([is]) => is === "system.cpu.busy on node:sim-01");
    await drawn(page, 1);
  }));

test("what is of another unit has a chart of its own", () =>
  on(asked("system.memory.usage", "system.memory.limit", "system.cpu.busy"), async (page) => {
    await drawn(page, 2);
    const heads = await page.$$eval(".explore .p:has(.ch) > header", (all) => all.map((is) => is.textContent));
    assert.match(heads[0], /system\.memory\.usage, system\.memory\.limit.*bytes/);
    assert.match(heads[1], /system\.cpu\.busy.*share/);
    await page.locator('button[aria-label^="system.cpu.busy: view as table"]').click();
    await page.waitForSelector('[aria-label="system.cpu.busy, table"] tbody tr');
  }));

test("a mistake in PromQL is said at its place, and the query stays as it was typed", async () => {
  // The console reports the refused question.
  const { page, context } = await openPage(browser, starling.url + asked("promql sum(rate(up{job=~\".+\"}[1m])"));
  try {
    const field = page.locator("textarea");
    await until("it is said", () => rows(page), ([row]) => /1:4: parse error: .*never closed/.test(row ?? ""));
    assert.match(await textOf(page, ".wrong"), /\n {3}\^$/);
    assert.equal(await field.getAttribute("aria-invalid"), "true");
    const query = 'sum by (node) (system_cpu_utilization_ratio{node=~".+"}) + 1+2';
    await field.fill(query);
    await field.press("Enter");
    await drawn(page, 1);
    const before = page.url();
    assert.equal(new URL(before).searchParams.get("s"), `promql ${query}`);
    await page.reload();
    await drawn(page, 1);
    assert.equal(page.url(), before, "the address does not grow");
    assert.equal(await field.inputValue(), query);
    // Below zero there is room too.
    await field.fill("-1 * vector(5)");
    await field.press("Enter");
    await until("a negative value is read", () => charts(page), ([is]) => /-5/.test(is ?? ""));
  } finally {
    await context.close();
  }
});

test("up to four nodes are compared, by figures and on common charts, all in the address", () =>
  on("/nodes", async (page) => {
    const box = (name) => page.locator(`[aria-label="Compare ${name}"]`);
    await box("sim-01").waitFor();
    // By what becomes of it: the comparison comes in above the table, and moves it.
    const pick = async (name) => {
      await box(name).click();
      await until(`${name} is picked`, () => box(name).isChecked(), (is) => is);
    };
    await pick("sim-01");
    await pick("sim-02");
    await until("both are in the address", async () => new URL(page.url()).searchParams.getAll("compare").join(), (text) => text === "sim-01,sim-02");
    await until("figures stand side by side", () => page.$$eval(".compare tr", (all) => all.map((row) => row.textContent)), (all) =>
      all[0]?.includes("sim-01sim-02") && all.some((row) => /^CPU[\d.]+%[\d.]+%$/.test(row)));
    await until("four charts with a line each", () => page.$$eval(".w6 .ch[role=img]", (all) => all.map((is) => is.getAttribute("aria-label"))), (all) =>
      all.length >= 2 && all.filter((is) => /sim-01 .*sim-02 /.test(is)).length >= 2);
    assert.deepEqual(await violations(page), []);
    await page.screenshot({ path: `${screenshots}/compare.png`, fullPage: true });
    await pick("sim-03");
    const others = await page.locator(".nodes tbody input:not(:checked)").count();
    if (others > 1) {
      await page.locator(".nodes tbody input:not(:checked)").first().check();
      assert.ok(await page.locator(".nodes tbody input:not(:checked)").first().isDisabled(), "a fifth is not offered");
    }
    await page.goBack();
    await page.locator("button", { hasText: "End the comparison" }).click();
    await until("it ends", () => page.locator(".compare").count(), (n) => n === 0);
    // One filter for the map and the table.
    await page.goto(`${starling.url}/nodes?q=${encodeURIComponent("-sim")}`);
    await until("the table holds what is left", () => page.locator("table.nodes tbody tr").count(), (n) => n === 1);
    assert.match(await textOf(page, ".p:has(.hm) > header"), /1 of 4 nodes/);
    await page.goto(`${starling.url}/nodes?q=${encodeURIComponent("cpu>abc")}`);
    await until("what is not understood is said", () => textOf(page, ".table-note [role=alert]"), (text) => /cpu>abc wants a number/.test(text ?? ""));
  }));

test("the file holds what REST says: RFC 3339, a dot, nothing for no data", () =>
  on(asked("system.memory.limit"), async (page) => {
    await drawn(page, 1);
    const [download] = await Promise.all([page.waitForEvent("download"), page.locator("button", { hasText: "CSV" }).click()]);
    const [head, ...all] = readFileSync(await download.path(), "utf8").trimEnd().split("\r\n");
    assert.equal(head, "time,mean of system.memory.limit (By)");
    const known = all.map((row) => row.split(",")).filter(([, value]) => value !== "");
    assert.ok(known.length > 3 && known.length < all.length, `${known.length} of ${all.length} rows have a value`);
    const [time, value] = known.at(-1);
    assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/);
    const answer = await (await fetch(`${starling.url}/api/v1/series?name=system.memory.limit&from=${time}&to=${time}`)).json();
    assert.equal(Number(value), answer.series[0].statistics.find((is) => is.statistic === "mean").values[0]);
  }));

// Drives the page fed by the test feeder as a person would; fails with the first thing that is not as it should be.
import assert from "node:assert/strict";
import { open, startBrowser, startFeeder, tell } from "./browser.mjs";

const feeder = await startFeeder("--nodes", "248");
const browser = await startBrowser();
const LIMIT = 20_000;
const desktop = { width: 1440, height: 900, theme: "dark" };

/** Waits until `read` gives what `good` accepts, and says what was last seen if it never does. */
async function until(what, read, good) {
  const end = Date.now() + LIMIT;
  let seen;
  while (Date.now() < end) {
    seen = await read();
    if (good(seen)) return seen;
    await new Promise((r) => setTimeout(r, 100));
  }
  throw new Error(`${what}: last seen ${JSON.stringify(seen)}`);
}

try {
  const { page, problems } = await open(browser, `${feeder.url}/`, desktop);
  const text = (selector) => page.locator(selector).first().textContent();
  const requests = () => text(".kpi:nth-child(1) .v");
  const pill = () => text(".live > span");

  await until("requests are shown", requests, (t) => /\d/.test(t));
  const [second, value] = [await text(".live time"), await text(".lg b")];
  await until(
    "the second moves",
    () => text(".live time"),
    (t) => t !== second,
  );
  await until(
    "numbers move",
    () => text(".lg b"),
    (t) => t !== value,
  );

  await page.keyboard.press("Space");
  assert.match(await pill(), /^Paused/);
  const held = await text(".lg b");
  await until("the pill counts", pill, (t) => /[3-9]\D*s behind/.test(t));
  assert.equal(await text(".lg b"), held, "a paused view changed");
  await page.keyboard.press("Space");
  await until("live again", pill, (t) => t.startsWith("Live"));

  // A page on a wall stays open for weeks.
  const debuggerSession = await page.context().newCDPSession(page);
  await debuggerSession.send("Performance.enable");
  const heapMiB = async () => {
    await debuggerSession.send("HeapProfiler.collectGarbage");
    const { metrics } = await debuggerSession.send("Performance.getMetrics");
    return metrics.find((m) => m.name === "JSHeapUsedSize").value / 2 ** 20;
  };
  await page.waitForTimeout(5000);
  const early = await heapMiB();
  await page.waitForTimeout(15_000);
  const grown = (await heapMiB()) - early;
  assert.ok(grown < 1, `the heap grew by ${grown.toFixed(1)} MiB in 15 s`);

  const chart = await page.locator(".ch").first().boundingBox();
  await page.mouse.move(chart.x + 200, chart.y + 80);
  await page.mouse.down();
  await page.mouse.move(chart.x + 400, chart.y + 80, { steps: 4 });
  await page.mouse.up();
  await until(
    "the zoom is said",
    () => page.locator(".pinchip").count(),
    (n) => n === 1,
  );
  await page.keyboard.press(".");
  await until(
    "the zoom is left",
    () => page.locator(".pinchip").count(),
    (n) => n === 0,
  );

  await page.mouse.click(chart.x + 300, chart.y + 80);
  await until(
    "the pin is in the address",
    () => page.url(),
    (u) => u.includes("at="),
  );
  const marks = await page.locator(".hair:not([hidden])").count();
  assert.ok(marks >= 1, "the crosshair is drawn");
  await page.keyboard.press("Escape");
  await until(
    "the pin is free",
    () => page.url(),
    (u) => !u.includes("at="),
  );

  await page.locator('button[aria-label="Request timeline: view as table"]').click();
  assert.ok((await page.locator(".scroll tbody tr").count()) >= 10, "the table has rows");
  await page.locator('button[aria-label="Request timeline: view as chart"]').click();

  await page.keyboard.press("d");
  const theme = await page.evaluate(() => document.documentElement.dataset.theme);
  assert.equal(theme, "light");
  await page.reload();
  await page.waitForSelector(".kpi .v");
  assert.equal(
    await page.evaluate(() => document.documentElement.dataset.theme),
    "light",
    "the theme is remembered",
  );

  await page.waitForSelector(".hm-focus");
  await page.locator(".hm-focus").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await until(
    "the node opens",
    () => page.url(),
    (u) => /\/nodes\/node-/.test(u),
  );
  await until(
    "its cores are drawn",
    () => page.locator(".cores canvas").count(),
    (n) => n === 1,
  );
  const before = page.url();
  await page.keyboard.press("]");
  await until(
    "the next node opens",
    () => page.url(),
    (u) => u !== before,
  );

  await page.keyboard.press("g");
  await page.keyboard.press("n");
  await until(
    "the table of nodes opens",
    () => page.locator("table.nodes tbody th").count(),
    (n) => n > 30,
  );
  await page.locator("#find").fill("state:silent");
  await until(
    "the filter applies",
    () => page.locator("table.nodes tbody th").count(),
    (n) => n === 1,
  );

  await page.goto(`${feeder.url}/`);
  await until("live", pill, (t) => t.startsWith("Live"));
  assert.deepEqual(problems, [], "the console is clean");
  await tell(feeder.url, "cut");
  await until(
    "the loss is said",
    () => page.locator(".banner").count(),
    (n) => n === 1,
  );
  assert.match(await text(".banner"), /Connection lost|interrupted/);
  await until("the pill says stale", pill, (t) => t.startsWith("Stale"));
  await tell(feeder.url, "restart");
  await page
    .getByRole("button", { name: "Retry now" })
    .click({ timeout: 2000 })
    .catch(() => {});
  await until("live after a restart", pill, (t) => t.startsWith("Live"));
  assert.equal(await page.locator(".banner").count(), 0);

  await tell(feeder.url, "silence");
  await until(
    "silence is said",
    () => page.locator(".banner").count(),
    (n) => n === 1,
  );
  assert.match(await text(".banner"), /No new data/);
  console.log("behaviour: as it should be");
} finally {
  await browser.close();
  feeder.stop();
}

// The page on INVENTED data: 248 hosts with silent ones among them and 15 minutes of history, and a server that is cut
// off, falls silent and comes back as another, on command. One machine has no such fleet; see dashboard/ui/test/feeder.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  eventually, fitsInWidth, LOOKS, openPage, says, startBrowser, startFeeder, textOf, until, violations,
} from "./harness.mjs";

let feeder;
let browser;
before(async () => {
  [feeder, browser] = await Promise.all([startFeeder("--nodes", "248"), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await feeder?.stop();
});

const SHOWN = {
  "/": ".kpi .v",
  "/nodes/node-r03-19": ".cores canvas",
  "/nodes": "table.nodes tbody th",
  "/cluster": "tbody tr",
};

for (const look of LOOKS) {
  test(`axe finds nothing on a page of a large fleet, ${look.theme}, ${look.width} wide`, async () => {
    for (const [path, shown] of Object.entries(SHOWN)) {
      const { page, context, faults } = await openPage(browser, feeder.url + path, look);
      await page.waitForSelector(shown);
      await says(page, "Live");
      assert.deepEqual(await violations(page), [], path);
      assert.ok(await fitsInWidth(page), `${path} scrolls sideways`);
      assert.deepEqual(faults, [], path);
      await context.close();
    }
  });
}

test("a large table is drawn in part and filters by state", async () => {
  const { page, context } = await openPage(browser, `${feeder.url}/nodes`);
  const rows = () => page.locator("table.nodes tbody th").count();
  await until("rows are drawn, not all of them", rows, (n) => n > 30 && n < 200);
  await page.locator("#find").fill("state:silent");
  await until("one host is silent", rows, (n) => n === 1);
  await context.close();
});

test("a chart of 15 minutes reads as a table", async () => {
  const { page, context } = await openPage(browser, feeder.url);
  await page.locator('button[aria-label="Request timeline: view as table"]').click();
  await until("the table has rows", () => page.locator(".scroll tbody tr").count(), (n) => n >= 10);
  await page.locator('button[aria-label="Request timeline: view as chart"]').click();
  await page.waitForSelector(".ch canvas");
  await context.close();
});

test("a cut connection, another server and silence are each reported as what they are", async () => {
  const { page, context, faults } = await openPage(browser, feeder.url);
  await says(page, "Live");
  assert.deepEqual(faults, [], "the console is clean");
  const banner = () => textOf(page, ".banner");
  await feeder.command("cut");
  await until("the loss is shown", banner, (t) => /Connection lost|interrupted/.test(t ?? ""));
  await says(page, "Stale");
  await feeder.command("restart");
  // The button is gone already when the page was quicker.
  await page.getByRole("button", { name: "Retry now" }).click({ timeout: 2000 }).catch(() => {});
  await says(page, "Live");
  await eventually("the banner is gone", async () => (await page.locator(".banner").count()) === 0);
  await feeder.command("silence");
  await until("silence is shown", banner, (t) => /No new data/.test(t ?? ""));
  await context.close();
});

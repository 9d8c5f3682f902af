// The whole cluster, dashboard included, is killed and started again in the middle: a page that is open goes on by itself, the gap
// is drawn, and nothing else is lost. A page that is opened afterwards shows the same.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually, openPage, says, screenshots, startBrowser, startRestartable, until } from "./harness.mjs";

/** Seconds without a cluster: wide enough in a chart of a minute to be looked at. */
const AWAY = 10;
const sleep = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
const now = () => Math.floor(Date.now() / 1000);

let starling;
let browser;
before(async () => {
  [starling, browser] = await Promise.all([startRestartable("--aggregators", "3", "--nodes", "4"), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await starling?.stop();
});

/** Columns of charts by the second, as the page's own requests give them. */
async function charts(from, to) {
  const answer = await fetch(
    `${starling.url}/api/v1/metrics/charts?columns=rps.total,latency.p99&step=1&from=${from}&to=${to}`);
  const { columns } = await answer.json();
  return columns.map((column) => column.values);
}

/** What the crosshair reads along the request timeline: 1 where there is a number, 0 where there is none. */
async function alongTheTimeline(page) {
  const box = await page.locator(".ch").first().boundingBox();
  let read = "";
  for (let x = 0.1; x < 0.97; x += 0.015) {
    await page.mouse.move(box.x + x * box.width, box.y + box.height / 2);
    const words = await page.evaluate(async () => {
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      return document.querySelector(".lg").textContent;
    });
    read += /Total\s*[\d.]/.test(words) ? "1" : "0";
  }
  return read;
}

test("charts go on over a restart of the whole cluster, with the gap drawn and nothing else lost", async () => {
  const { page, context } = await openPage(browser, starling.url);
  await eventually("20 seconds are there", async () => {
    const [rates] = await charts(now() - 30, now());
    return rates.filter((value) => value !== null).length >= 20;
  });
  // What was answered; the newest seconds may still change.
  const [from, to] = [now() - 18, now() - 3];
  const answered = await charts(from, to);
  assert.ok(answered.every((values) => values.length === to - from + 1 && !values.includes(null)), `${answered}`);

  await starling.kill();
  const killed = now();
  await says(page, "Stale");
  await sleep(AWAY);
  await starling.startAgain();
  await says(page, "Live");
  await eventually("10 seconds have come", async () => {
    const [rates] = await charts(killed + AWAY, now());
    return rates.filter((value) => value !== null).length >= 10;
  });

  assert.deepEqual(await charts(from, to), answered, "what was answered before is answered again");
  const [during] = await charts(killed + 2, killed + AWAY - 2);
  assert.ok(during.every((value) => value === null), `no number was made up: ${during}`);
  const gapInTheMiddle = /^0*1{4,}0{4,}1{4,}0*$/;
  await until("the open page shows both sides and the gap", () => alongTheTimeline(page), (seen) => gapInTheMiddle.test(seen));
  await page.mouse.move(5, 5);
  await page.screenshot({ path: `${screenshots}/restart-1440-dark.png`, fullPage: true });
  await context.close();

  const { page: fresh, context: second, faults } = await openPage(browser, starling.url);
  await until("a fresh page shows the same", () => alongTheTimeline(fresh), (seen) => gapInTheMiddle.test(seen));
  assert.deepEqual(faults, []);
  await fresh.screenshot({ path: `${screenshots}/restart-fresh-1440-dark.png`, fullPage: true });
  await second.close();
});

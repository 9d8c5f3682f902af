// What differs: a box on the heatmap of a real `starling up` to which two services send, one of them slow.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually, fitsInWidth, LOOKS, onPage, screenshots, startBrowser, startFeeder, startRestartable, textOf, until, violations } from "./harness.mjs";

/** Bounds of buckets, seconds, and how many requests of each a service serves in a second. */
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const SERVICES = { quick: [0, 20, 30, 0, 0, 0, 0, 0, 0, 0], slow: [0, 2, 0, 0, 0, 0, 0, 0, 8, 0] };
const SECONDS = 25;

let starling;
let browser;

/** Sends what a service served since `start` as an OpenTelemetry SDK does: cumulative. */
async function send(service, start, seconds) {
  const counts = SERVICES[service].map((n) => n * seconds);
  const count = counts.reduce((a, b) => a + b, 0);
  const nanos = (ms) => `${BigInt(ms) * 1_000_000n}`;
  const point = {
    startTimeUnixNano: nanos(start),
    timeUnixNano: nanos(Date.now()),
    count: `${count}`,
    sum: count * 0.05,
    bucketCounts: counts.map(String),
    explicitBounds: BOUNDS,
    attributes: [
      { key: "http.route", value: { stringValue: `/${service}` } },
      { key: "http.request.method", value: { stringValue: "GET" } },
      { key: "http.response.status_code", value: { intValue: "200" } },
      { key: "network.protocol.version", value: { stringValue: "1.1" } },
    ],
  };
  const histogram = { aggregationTemporality: 2, dataPoints: [point] };
  const metrics = [{ name: "http.server.request.duration", unit: "s", histogram }];
  const resource = { attributes: [{ key: "service.name", value: { stringValue: service } }] };
  const answer = await fetch(`http://${starling.otlpHttp}/v1/metrics`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ resourceMetrics: [{ resource, scopeMetrics: [{ scope: { name: "test" }, metrics }] }] }),
  });
  assert.equal(answer.status, 200, await answer.text());
}

/** Goes on for as long as the tests do: a box that goes along with time is to hold something. */
let sending = true;
let sent = 0;
async function sendEachSecond() {
  const start = Date.now();
  for (; sending; sent++) {
    await Promise.all(Object.keys(SERVICES).map((service) => send(service, start, sent)));
    await new Promise((done) => setTimeout(done, 1_000));
  }
}
let sender;

before(async () => {
  [starling, browser] = await Promise.all([startRestartable(), startBrowser()]);
  sender = sendEachSecond();
  await until("enough was sent", async () => sent, (seconds) => seconds > SECONDS, 120_000);
});
after(async () => {
  sending = false;
  await sender;
  await browser?.close();
  await starling?.stop();
});

const on = (path, use, size) => onPage(browser, starling.url + path, use, size);
const HEAT = ".heat canvas";
const ROWS = ".differ tbody tr";
const first = (page) => textOf(page, `${ROWS}:first-child th`);

async function lookAtHeat(page) {
  await eventually("the heatmap is on the page", () =>
    page.evaluate(() => {
      const head = [...document.querySelectorAll("section.p h2")].find((h2) => h2.textContent === "Performance heatmap");
      head?.closest("section").scrollIntoView({ block: "center" });
      return head !== undefined;
    }));
  await page.waitForSelector(HEAT);
}

/** Draws a box over the upper part of the heatmap, which holds the slow requests; again when the page moved under it. */
async function drag(page) {
  for (let tries = 0; tries < 5 && (await page.locator(".differ").count()) === 0; tries++) {
    await lookAtHeat(page);
    const { x, y, width, height } = await page.locator(HEAT).boundingBox();
    await page.mouse.move(x + width * 0.4, y + height * 0.3);
    await page.mouse.down();
    await page.mouse.move(x + width * 0.7, y + height * 0.1, { steps: 5 });
    // Beyond the corner: the box ends at the border.
    await page.mouse.move(x + width + 30, y - 10, { steps: 5 });
    await page.mouse.up();
    await page.waitForSelector(".differ", { timeout: 2_000 }).catch(() => null);
  }
}

for (const look of LOOKS) {
  test(`a box says what differs, ${look.theme}, ${look.width} wide`, () =>
    on("/traffic", async (page) => {
      await lookAtHeat(page);
      await drag(page);
      await until("the slow service is named", () => textOf(page, ".differ"), (text) => /slow/.test(text ?? ""));
      assert.match(await first(page), /slow/);
      assert.match(page.url(), /box=last\d+/, "it goes along with the newest second");
      assert.match(await textOf(page, ".differ-text"), /slow makes 100 % of the \d+ requests in the box/);
      const cells = await page.$$eval(`${ROWS}:first-child td`, (all) => all.map((cell) => cell.textContent));
      assert.equal(cells[0], "100%");
      const wanted = await (await fetch(`${starling.url}/api/v1/differ?${new URLSearchParams({ range: "15m", lower: "900000" })}`)).json();
      const row = wanted.rows.find((is) => is.value === "slow");
      assert.ok(row.inside > 0 && row.inside % 8 === 0, "every slow request is counted, and no other");
      assert.equal(row.inside, wanted.inside);
      assert.deepEqual(await violations(page), []);
      assert.ok(await fitsInWidth(page), "the page scrolls sideways");
      await page.locator(".differ").scrollIntoViewIfNeeded();
      await page.screenshot({ path: `${screenshots}/differ-${look.width}-${look.theme}.png`, fullPage: true });
      // The address holds it.
      await page.reload();
      await lookAtHeat(page);
      await until("the box is there again", () => first(page), (text) => /slow/.test(text ?? ""));
      await page.locator(".differ button").click();
      await until("it is gone", () => page.locator(".differ").count(), (n) => n === 0);
      assert.doesNotMatch(page.url(), /box=/);
    }, look));
}

test("a box is drawn by keys, and Escape takes it away", () =>
  on("/traffic", async (page) => {
    await lookAtHeat(page);
    await page.locator(".heat").focus();
    await page.keyboard.press("End");
    for (let n = 0; n < 40; n++) await page.keyboard.press("ArrowUp");
    for (let n = 0; n < 3; n++) await page.keyboard.press("Shift+ArrowLeft");
    await until("the box is asked about", () => textOf(page, ".differ-text"), (text) => /in the box/.test(text ?? ""));
    assert.match(page.url(), /box=/);
    await page.keyboard.press("Escape");
    await until("it is gone", () => page.locator(".differ").count(), (n) => n === 0);
  }));

test("an odd node is named with since when, what was so before stands behind it, and names are text", async () => {
  const feeder = await startFeeder("--nodes", "60");
  try {
    for (const look of LOOKS) {
      await onPage(browser, `${feeder.url}/traffic?box=last120,-`, async (page) => {
        await page.waitForSelector(".outliers tbody tr");
        const rows = await page.$$eval(".outliers tbody tr", (all) => all.map((row) => [row.className, ...[...row.cells].map((cell) => cell.textContent)]));
        assert.deepEqual(rows.map(([faint, name]) => [faint, name]), [["", "node-r01-02"], ["faint", "node-r02-01"], ["faint", "node-r01-01"]]);
        assert.match(rows[0].at(-1), /^\d\d:\d\d:\d\d, 42\ss$/u);
        assert.deepEqual(rows.slice(1).map((row) => row.at(-1)), ["as before", "not odd"]);
        await lookAtHeat(page);
        await page.waitForSelector(ROWS);
        const differ = await page.$$eval(ROWS, (all) => all.map((row) => [...row.cells].map((cell) => cell.textContent)));
        assert.equal(differ[0][0], "node node-r01-02");
        assert.equal(differ[1][3], "only here");
        assert.equal(await page.locator(`${ROWS} b`).count(), 0, "no markup came out of a name");
        assert.deepEqual(await violations(page), []);
        assert.ok(await fitsInWidth(page), "the page scrolls sideways");
        await page.screenshot({ path: `${screenshots}/outliers-${look.width}-${look.theme}.png`, fullPage: true });
      }, look);
    }
  } finally {
    await feeder.stop();
  }
});

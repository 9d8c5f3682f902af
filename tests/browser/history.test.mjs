// The past on INVENTED data (dashboard/ui/test/feeder/past.mjs): ranges and granularities, gaps and bands, the heatmap and the
// historical analysis. Eight days at once and a hole of two hours are not to be had on command from a real cluster.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  DESKTOP, eventually, fitsInWidth, LOOKS, onPage, openPage, PHONE, screenshots, startBrowser, startFeeder, textOf, until, violations,
} from "./harness.mjs";

const NODE = "/nodes/node-r01-05";
let feeder;
let browser;
before(async () => {
  [feeder, browser] = await Promise.all([startFeeder("--nodes", "60"), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await feeder?.stop();
});

const on = (path, use, size = DESKTOP, at = feeder) => onPage(browser, at.url + path, use, size);

const pressed = (page, label) => textOf(page, `[aria-label="${label}"] [aria-pressed="true"]`);
const choose = (page, label, name) => page.locator(`[aria-label="${label}"] button`, { hasText: name }).click();
const timeline = (page) => page.locator(".ch").first();
const sentence = (page) => timeline(page).getAttribute("aria-label");
/** Scrolls to a panel: it is asked of history when it is looked at. */
const lookAt = (page, title) =>
  eventually(`${title} is on the page`, () =>
    page.evaluate((wanted) => {
      const head = [...document.querySelectorAll("section.p h2")].find((h2) => h2.textContent === wanted);
      head?.closest("section").scrollIntoView({ block: "center" });
      return head !== undefined;
    }, title));
const drawn = (page) => until("the past is drawn", () => sentence(page), (text) => / hours|days|60 minutes/.test(text) && !/no data/.test(text));

for (const look of LOOKS) {
  test(`axe finds nothing in the past, ${look.theme}, ${look.width} wide`, async () => {
    for (const path of ["/?range=24h", `${NODE}?range=7d`]) {
      await on(path, async (page) => {
        await lookAt(page, "Performance heatmap");
        await page.waitForSelector(".heat canvas");
        await lookAt(page, "Historical analysis");
        await page.waitForSelector(".trend-chart svg");
        await drawn(page);
        assert.deepEqual(await violations(page), [], path);
        assert.ok(await fitsInWidth(page), `${path} scrolls sideways`);
        const name = path.startsWith("/nodes") ? "past-node" : "past-overview";
        await page.screenshot({ path: `${screenshots}/${name}-${look.width}-${look.theme}.png`, fullPage: true });
      }, look);
    }
  });
}

test("ranges and granularities stand in the address, and Back leads back", () =>
  on("/", async (page) => {
    assert.equal(await pressed(page, "Range of time"), "15m");
    assert.equal(await pressed(page, "Time in a point"), "second");
    await choose(page, "Range of time", "6h");
    await until("the range is in the address", async () => page.url(), (url) => url.endsWith("?range=6h"));
    await until("a step is chosen", () => pressed(page, "Time in a point"), (text) => /auto, 20.s/.test(text));
    await until("the chart shows it", () => sentence(page), (text) => text.includes("over 6 hours"));
    // What the range cannot carry is not offered.
    assert.ok(await page.locator('[aria-label="Time in a point"] button', { hasText: "second" }).isDisabled());
    await choose(page, "Time in a point", "hour");
    await until("so is the granularity", async () => page.url(), (url) => url.includes("granularity=hour"));
    await page.goBack();
    await until("one step back", () => pressed(page, "Time in a point"), (text) => /auto/.test(text));
    await page.goBack();
    await until("live again", () => pressed(page, "Range of time"), (text) => text === "15m");
    await page.goForward();
    await until("and forward", () => pressed(page, "Range of time"), (text) => text === "6h");
    // A link of this page keeps the time that is looked at.
    await page.locator("a[href='/nodes']").first().click();
    await page.locator(`table.nodes a`).first().click();
    await until("the node shows the same time", async () => page.url(), (url) => /nodes\/.+range=6h/.test(url));
  }));

test("a custom range is given by its ends", () =>
  on("/", async (page) => {
    await choose(page, "Range of time", "Custom");
    const [from, to] = [3, 2].map((hours) => new Date(Date.now() - hours * 3_600_000).toISOString().slice(0, 19));
    await page.fill('.custom [name="from"]', to);
    await page.fill('.custom [name="to"]', from);
    await page.locator(".custom button", { hasText: "Show" }).click();
    await until("a mistake is said", () => textOf(page, ".custom [role=alert]"), (text) => /before/.test(text));
    await page.fill('.custom [name="from"]', from);
    await page.fill('.custom [name="to"]', to);
    // What was understood is said in one order in every language.
    await until("a preview", () => textOf(page, ".custom .understood"), (text) =>
      text?.startsWith(`${from.replace("T", " ")} to ${to.replace("T", " ")} UTC, 60 minutes`));
    await page.locator(".custom button", { hasText: "Show" }).click();
    await until("it is in the address", async () => page.url(), (url) => /range=custom&from=\d+&to=\d+/.test(url));
    await until("the chart shows it", () => sentence(page), (text) => text.includes("over 60 minutes"));
    assert.equal(await pressed(page, "Range of time"), "Custom");
  }));

test("dragging in the past looks closer, in finer steps", () =>
  on("/?range=24h", async (page) => {
    await drawn(page);
    const box = await timeline(page).boundingBox();
    await page.mouse.move(box.x + 200, box.y + 80);
    await page.mouse.down();
    await page.mouse.move(box.x + 300, box.y + 80, { steps: 4 });
    await page.mouse.up();
    await until("the part is in the address", async () => page.url(), (url) => url.includes("range=custom"));
    await until("in finer steps", () => pressed(page, "Time in a point"), (text) => /auto, [12].?.s/.test(text));
    await page.keyboard.press(".");
    await until("live again", () => pressed(page, "Range of time"), (text) => text === "15m");
  }));

/** Pixels of a chart's canvas with some ink, in a stretch of its width. */
const inked = (locator, from, to) =>
  locator.evaluate((canvas, [a, b]) => {
    const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
    const g = copy.getContext("2d", { willReadFrequently: true });
    g.drawImage(canvas, 0, 0);
    const x = Math.round(a * canvas.width);
    const { data } = g.getImageData(x, 0, Math.max(1, Math.round((b - a) * canvas.width)), canvas.height);
    return data.filter((v, i) => i % 4 === 3 && v > 0).length;
  }, [from, to]);

test("a hole of two hours is a gap and a peak of one second is seen in a day", () =>
  on("/?range=7d", async (page) => {
    await drawn(page);
    const table = page.locator('button[aria-label="Request timeline: view as table"]');
    await table.click();
    const rows = await page.$$eval(".scroll tbody tr", (all) => all.map((row) => row.textContent));
    assert.ok(rows.some((row) => row.includes("no data")) && rows.some((row) => !row.includes("no data")), rows.join("\n"));
    await page.locator('button[aria-label="Request timeline: view as chart"]').click();
    await drawn(page);
    // The peaks are half as high again as the mean of their five minutes; a mean alone would lose them.
    const [, value, unit] = /peak ([\d.]+)\D?([KM])?/.exec(await sentence(page));
    const total = await textOf(page, ".lg .k b");
    assert.ok(value && unit && total, "the peak is said");
    const scale = { K: 1e3, M: 1e6 };
    const top = Number(value) * scale[unit];
    const rates = await (await fetch(`${feeder.url}/api/v1/metrics/charts?columns=rps.total&step=300&from=${Math.floor(Date.now() / 1000) - 86_400}&to=${Math.floor(Date.now() / 1000)}`)).json();
    const highestMean = Math.max(...rates.columns[0].values.filter((v) => v !== null));
    assert.ok(top > highestMean * 1.2, `${top} beside means of ${highestMean}`);
  }));

// Ten hours around the hole of two: a column is five minutes, so that some hold nothing, whatever the time is.
const aroundTheHole = () => {
  const [from, to] = [30, 20].map((hours) => Math.floor(Date.now() / 1000) - hours * 3600);
  return `/?range=custom&from=${from}&to=${to}`;
};

test("the heatmap reads cell by cell, and no data is no zero", () =>
  on(aroundTheHole(), async (page) => {
    const heat = page.locator(".heat");
    await lookAt(page, "Performance heatmap");
    await page.waitForSelector(".heat canvas");
    await heat.focus();
    await page.keyboard.press("End");
    await page.keyboard.press("ArrowDown");
    const words = () => textOf(page, ".heat .sr");
    await until("a cell is said with its bounds and count", words, (text) => /ms to .*: [\d,]+ requests?, .* to /.test(text));
    // The hole of two hours, by its column.
    let seen = "";
    for (let i = 0; i < 60 && !/no data/.test(seen); i++) {
      await page.keyboard.press("ArrowLeft");
      seen = await words();
    }
    assert.match(seen, /no data/);
    const before = await inked(page.locator(".heat canvas"), 0.3, 0.31);
    assert.ok(before > 0, "cells are drawn");
    await page.locator('[aria-label="Show"] button', { hasText: "Throughput" }).click();
    await until("the choice is in the address", async () => page.url(), (url) => url.includes("heat=throughput"));
    await heat.focus();
    await page.keyboard.press("End");
    await page.keyboard.press("ArrowUp");
    await until("its cells count seconds", words, (text) => /\/s.*: [\d,]+ seconds?/.test(text));
    await page.locator('button[aria-label="Performance heatmap: view as table"]').click();
    await until("it reads as a table", () => page.locator('[aria-label="Performance heatmap, table"] tbody tr').count(), (n) => n > 50);
  }));

test("the historical analysis says its figures, compares, and leads to its evidence", () =>
  on("/", async (page) => {
    const panel = page.locator(".p", { has: page.locator("h2", { hasText: "Historical analysis" }) });
    assert.equal(await page.locator(".summary").count(), 0, "nothing is asked before it is looked at");
    await lookAt(page, "Historical analysis");
    await until("the figures are there", () => textOf(page, ".summary"), (text) => /Average[\d.]+ms/.test(text ?? ""));
    const summary = await textOf(page, ".summary");
    assert.match(summary, /Peak, .*\d\d:\d\d/, "the peak has its time");
    assert.match(await panel.textContent(), /Period before.*4\.2% more.*A week ago.*no data/s);
    await panel.locator("[aria-label='Metric'] button", { hasText: "Memory" }).click();
    await until("another metric", () => textOf(page, ".summary"), (text) => /Average[\d.]+%/.test(text));
    await panel.locator("select").selectOption("7d");
    await until("its own range is in the address", async () => page.url(), (url) => /analysis=7d/.test(url) && /metric=memory/.test(url));
    await page.locator(".trend-chart").focus();
    await page.keyboard.press("ArrowLeft");
    await until("a point is read", () => textOf(page, ".trend-chart .sr"), (text) => /%, between .*% and .*%/.test(text));
    await panel.locator(".insights a", { hasText: "Show" }).first().click();
    await until("the evidence is shown", async () => page.url(), (url) => /range=custom/.test(url));
    await panel.locator("[aria-label='Metric'] button", { hasText: "CPU" }).click();
    await until("silence is said", () => panel.textContent(), (text) => /Nothing stands out/.test(text));
  }));

for (const look of LOOKS) {
  test(`axe finds nothing on History, ${look.theme}, ${look.width} wide`, () =>
    on("/history?metric=memory", async (page) => {
      await page.waitForSelector(".trend-before");
      assert.deepEqual(await violations(page), []);
      assert.ok(await fitsInWidth(page));
      await page.screenshot({ path: `${screenshots}/history-${look.width}-${look.theme}.png`, fullPage: true });
    }, look));
}

test("History: metric, whose, range and the period before, all in the address, by keyboard and back", () =>
  on("/", async (page) => {
    await page.keyboard.press("g");
    await page.keyboard.press("h");
    await until("a day of latency", () => textOf(page, ".summary"), (text) => /Average[\d.]+.ms.*Peak, \d+ \w+ \d\d:\d\d/.test(text ?? ""));
    assert.equal(await pressed(page, "Range of time"), "24h");
    assert.equal(await page.locator('[aria-label="Range of time"] button', { hasText: "15m" }).count(), 0);
    await page.locator("[aria-label=Metric]").selectOption("requests");
    await page.locator("[aria-label=Of]").selectOption("group:zone:a");
    await choose(page, "Range of time", "7d");
    await until("all of it is in the address", async () => page.url(), (url) =>
      /metric=requests/.test(url) && /of=group%3Azone%3Aa/.test(url) && /range=7d/.test(url));
    await until("whose it is stands at the title", () => textOf(page, ".p > header .note"), (text) => /zone:a, 7 days/.test(text ?? ""));
    // The period before began before there was history: a part of it at least is said to be missing.
    await until("the period before", () => textOf(page, ".trend-legend"), (text) => /the period before/.test(text ?? ""));
    await page.locator(".trend-chart").focus();
    await page.keyboard.press("ArrowLeft");
    await until("a point is read", () => textOf(page, ".trend-chart .sr"), (text) => /\/s, between/.test(text ?? ""));
    await page.goBack();
    await until("one act back", () => pressed(page, "Range of time"), (text) => text === "24h");
    await until("its day is drawn", () => page.getAttribute(".trend-chart", "aria-label"), (text) => /over 24 hours/.test(text ?? ""));
    // Its last two hours are those of the hole.
    for (let i = 0; i < 15; i++) await page.keyboard.press("Shift+ArrowLeft");
    await until("the period before is read beside it", () => textOf(page, ".trend-chart .sr"), (text) => /the period before [\d.]+/.test(text ?? ""));
    await page.goBack();
    await page.goBack();
    assert.equal(new URL(page.url()).search, "");
    await page.locator('button[aria-label="Latency p99: view as table"]').click();
    await page.waitForSelector('[aria-label="Latency p99, table"] tbody tr');
    const [download] = await Promise.all([page.waitForEvent("download"), page.locator("button", { hasText: "CSV" }).click()]);
    assert.equal(download.suggestedFilename(), "history.csv");
  }));

test("History shows any series, found while typing", () =>
  on("/history", async (page) => {
    await page.locator("[aria-label=Metric]").selectOption("another");
    await page.locator("[role=combobox][aria-label^='Find a series']").fill("app.mem");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await until("it is shown", () => textOf(page, ".summary"), (text) => /Average/.test(text ?? ""));
    assert.match(page.url(), /metric=app\.memory/);
    assert.equal(await textOf(page, ".p > header h2"), "app.memory");
  }));

test("an empty past and a part that is missing are said in words", async () => {
  const young = await startFeeder("--nodes", "3", "--days", "0.02", "--without");
  try {
    await on("/?range=6h", async (page) => {
      await until("where data begins", () => textOf(page, ".ch-note"), (text) => /data from .* on/.test(text ?? ""));
      assert.match(await textOf(page, ".ch-note"), /without agg-2: does not answer/);
    }, DESKTOP, young);
    const [from, to] = [9, 8].map((days) => Math.floor(Date.now() / 1000) - days * 86_400);
    await on(`/?range=custom&from=${from}&to=${to}`, async (page) => {
      await until("why it is empty", () => textOf(page, ".ch-empty"), (text) => /No history in this time/.test(text ?? ""));
      await lookAt(page, "Performance heatmap");
      await eventually("the panels say it too", () => page.evaluate(() => document.querySelectorAll(".absent").length >= 1));
    }, DESKTOP, young);
  } finally {
    await young.stop();
  }
});

test("what could not be read is said, and read again by itself", async () => {
  const own = await startFeeder("--nodes", "3");
  // The console reports each question that was refused, as it must.
  const { page, context } = await openPage(browser, `${own.url}/?range=1h`);
  try {
    await drawn(page);
    await own.command("cut");
    await choose(page, "Range of time", "24h");
    await until("the reason is said", () => textOf(page, ".ch-note"), (text) => /not read again: cut off/.test(text ?? ""));
    await own.command("restore");
    await until("it is read again", () => page.locator(".ch-note").count(), (n) => n === 0, 60_000);
    await until("and is what was asked for", () => sentence(page), (text) => /over 24 hours: HTTP/.test(text));
  } finally {
    await context.close();
    await own.stop();
  }
});

test("on a phone the range has a row of its own", () =>
  on("/?range=24h", async (page) => {
    const box = await page.locator(".times").boundingBox();
    assert.ok(box.width <= PHONE.width && box.y > 48, JSON.stringify(box));
    assert.ok(await fitsInWidth(page));
  }, PHONE));

// The page on INVENTED data: 248 hosts with silent ones among them and 15 minutes of history, and a server that is cut
// off, falls silent and comes back as another, on command. One machine has no such fleet; see dashboard/ui/test/feeder.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import {
  DESKTOP, eventually, fitsInWidth, LOOKS, openPage, PHONE, says, screenshots, startBrowser, startFeeder, textOf, until, violations,
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
  "/alerts": ".open-alerts tbody tr",
  "/traffic": "table.services tbody tr",
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

/** A page over another feeder, which ends with it. */
async function onFeeder(args, size, look, path = "/") {
  const own = await startFeeder(...args);
  try {
    const { page, context, faults } = await openPage(browser, own.url + path, size);
    await look(page, own);
    assert.deepEqual(faults, []);
    await context.close();
  } finally {
    await own.stop();
  }
}

for (const [size, high] of [[DESKTOP, 320], [PHONE, 400]]) {
  test(`the map of 1,000 nodes is seen at one glance, ${size.width} wide`, () =>
    onFeeder(["--nodes", "1000"], size, async (page) => {
      const map = page.locator(".hm-plot");
      await until("the map is there", async () => (await map.boundingBox())?.height ?? 0, (h) => h > 100);
      assert.ok((await map.boundingBox()).height <= high);
      // What stands beside it is not pulled to its height.
      const lines = await page.$$eval(".protocols .spark", (all) => all.map((e) => e.getBoundingClientRect().height));
      assert.ok(lines.length > 0 && lines.every((height) => height <= 28), `sparklines of ${lines} px`);
    }));
}

test("the hatch of a silent tile stays in it, and the tile has a border", () =>
  onFeeder(["--nodes", "20", "--silent", "7"], DESKTOP, async (page) => {
    const silent = await page.waitForFunction(() =>
      [...document.querySelectorAll(".tally a")].some((a) => /1 silent/.test(a.textContent)));
    assert.ok(silent);
    const link = page.locator(".hm-focus");
    await link.focus();
    await page.keyboard.press("Home");
    // The tile whose description says so.
    await until("the silent one is found", async () => {
      const words = await textOf(page, ".hm-focus .sr");
      if (!/silent/.test(words)) await page.keyboard.press("ArrowRight");
      return words;
    }, (words) => /silent for/.test(words));
    await page.evaluate(() => document.activeElement.blur());
    const seen = await link.evaluate((a) => {
      const px = (name) => Number.parseFloat(a.style[name]);
      const canvas = document.querySelector(".hm-plot canvas");
      const ratio = canvas.width / canvas.clientWidth;
      // A copy that is made for reading: the browser warns of many reads of one that is drawn on.
      const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
      const g = copy.getContext("2d", { willReadFrequently: true });
      g.drawImage(canvas, 0, 0);
      const inked = (x, y, w, h) => {
        const { data } = g.getImageData(...[x, y, w, h].map((v) => Math.round(v * ratio)));
        return data.filter((v, i) => i % 4 === 3 && v > 0).length;
      };
      const [x, y, w, h] = ["left", "top", "width", "height"].map(px);
      return {
        outside: inked(x + w + 1, y, 2, h) + inked(x, y + h + 1, w, 2),
        inside: inked(x + 4, y + 4, w - 8, h - 8),
        border: inked(x, y + 5, 1, h - 10),
        high: h,
      };
    });
    assert.equal(seen.outside, 0, "beside and below the tile");
    assert.ok(seen.inside > 50, "it is hatched");
    assert.ok(seen.border >= seen.high - 12, `its border is drawn: ${seen.border} of ${seen.high} px`);
  }));

test("a node that cannot read its memory is named, and what lacks it says so", () =>
  onFeeder(["--nodes", "20", "--silent", "7", "--blind", "3"], DESKTOP, async (page, own) => {
    const memory = page.locator(".kpi", { hasText: "Memory" });
    await until("the card says how many are behind it", () => memory.locator(".lack").textContent(), (t) => t === "18 of 20 nodes");
    assert.equal(await page.locator(".kpi .lack").count(), 1, "only the part that lacks more than the rest is marked");
    const panel = await page.locator("section.p", { hasText: "Application" }).locator(".note").textContent();
    assert.match(panel, /over 18 of 20 nodes/);
    await page.goto(`${own.url}/nodes?q=state:silent`);
    await until("why it is silent is said", () => textOf(page, "td .why"), (t) => /clock is 3600 s ahead/.test(t));
    await page.locator("tr", { has: page.locator(".why", { hasText: "clock" }) }).locator("th a").click();
    await until("its page says since when nothing is there", () => page.locator(".absent").allTextContents(), (all) =>
      all.length >= 2 && all.every((text) => /^No data since \d\d:\d\d:\d\d\.$/.test(text)));
    await page.goto(`${own.url}/nodes?sort=state`);
    const blind = page.locator("tr", { has: page.locator(".why", { hasText: "memory cannot be read" }) });
    await blind.locator("th a").click();
    await until("its page says what and since when", () => textOf(page, ".faults"), (t) => /memory cannot be read since \d\d:\d\d:\d\d: permission denied/.test(t));
    assert.deepEqual(await violations(page), []);
  }));

test("two machines of one name are shown in red with both addresses", () =>
  onFeeder(["--nodes", "20", "--twin", "5"], DESKTOP, async (page) => {
    const why = await until("the table says it", () => textOf(page, "td .why.crit"), (t) => /10\.0\.0\.2:5000.*10\.0\.0\.1:4000/.test(t ?? ""));
    assert.ok(why);
    await page.locator("tr", { has: page.locator(".why.crit") }).locator("th a").click();
    await until("its page says it", () => textOf(page, ".faults .crit"), (t) => /10\.0\.0\.2:5000/.test(t ?? ""));
    assert.deepEqual(await violations(page), []);
  }, "/nodes"));

test("what is reported every 60 s is marked, with what makes it live", () =>
  onFeeder(["--nodes", "20", "--every", "60"], DESKTOP, async (page) => {
    const panel = page.locator("section.p", { hasText: "Protocols" });
    await until("the protocols say it", () => panel.locator(".small").textContent(), (t) =>
      /reported every 60.s.*OTEL_METRIC_EXPORT_INTERVAL=1000/.test(t));
    assert.deepEqual(await panel.locator("th", { has: page.locator("sup") }).allTextContents(), [" gRPC*"]);
    assert.match(await textOf(page, "section:has(h2:text-is('Request timeline')) .note"), /reported every 60.s/);
    assert.match(await page.locator(".kpi", { hasText: "Requests" }).textContent(), /every 60.s/);
    assert.deepEqual(await violations(page), []);
  }));

for (const size of [DESKTOP, PHONE]) {
  test(`percentiles of coarse buckets are ranges, and the page says what makes them sharp, ${size.width} wide`, () =>
    onFeeder(["--nodes", "3", "--bound", "1503906"], size, async (page) => {
      await until("a card has a range", () => page.locator(".kpi", { hasText: "p99" }).locator(".v").textContent(), (t) => /^[\d.]+–[\d.]+/.test(t));
      await page.locator("details.small summary").click();
      assert.match(await textOf(page, "details.small code"), /base2_exponential_bucket_histogram/);
      assert.ok(await fitsInWidth(page), "the name of the variable breaks");
      assert.deepEqual(await violations(page), []);
    }));
}

test("charts are drawn once when the font comes late", () =>
  onFeeder(["--nodes", "3"], DESKTOP, async (page, own) => {
    await page.route("**/*.woff2", async (route) => {
      await new Promise((done) => setTimeout(done, 2500));
      await route.continue();
    });
    await page.goto(own.url);
    await page.waitForSelector(".uplot");
    await page.evaluate(() => document.fonts.ready);
    await page.waitForTimeout(1000);
    const plots = await page.$$eval(".ch-plot", (all) => all.map((e) => e.querySelectorAll(".uplot").length));
    assert.ok(plots.length >= 4 && plots.every((n) => n === 1), `plots in each chart: ${plots}`);
  }));

test("what is beyond a limit is marked on its card and on its cell, and the verdict stays one line", async () => {
  const { page, context, faults } = await openPage(browser, feeder.url);
  await until("the legend says what the rings are", () => page.locator(".hm .ramp").textContent(), (text) => /critical/.test(text));
  const slow = await page.locator(".alerts li", { hasText: "Node slow" }).locator("a").getAttribute("href");
  await page.setViewportSize({ width: 760, height: 900 });
  await until("what has no room is unfolded by choice", () => page.locator(".verdict .btn").textContent(), (text) => text === "All causes");
  const high = () => page.locator(".verdict").evaluate((is) => is.getBoundingClientRect().height);
  assert.ok((await high()) < 32, `${await high()} px`);
  await page.locator(".verdict .btn").click();
  await until("all of it", high, (h) => h > 32);
  await page.goto(feeder.url + slow);
  await until("its card has the edge and the limit", () => page.locator(".kpi.critical").textContent(), (text) => /p99.*limit 3/s.test(text));
  assert.deepEqual(faults, []);
  await context.close();
});

test("tables hold what charts hold: no averaged percentile, no sampled minute, and a file of every point", async () => {
  const { page, context, faults } = await openPage(browser, feeder.url);
  const as = (title) => page.locator(`button[aria-label="${title}: view as table"]`);
  await as("Latency").click();
  const cells = () => page.$$eval('[aria-label="Latency, table"] tbody tr', (all) => all.map((row) => [...row.cells].map((c) => c.textContent)));
  await until("percentiles have a range of a minute, and no mean", cells, (all) =>
    all.slice(0, -1).filter((row) => row.slice(1).every((text) => /^[\d.]+.m?s to [\d.]+.m?s$/.test(text))).length > 3);
  await as("Network").click();
  await until("others have a mean and a range", () => textOf(page, '[aria-label="Network, table"] tbody tr:nth-child(3)'), (text) =>
    /[\d.]+.Gbit\/s [\d.]+.Gbit\/s to [\d.]+.Gbit\/s/.test(text ?? ""));
  const [download] = await Promise.all([
    page.waitForEvent("download"), page.locator('[aria-label="Network, table"] button').click(),
  ]);
  const [head, ...rows] = readFileSync(await download.path(), "utf8").trimEnd().split("\r\n");
  assert.equal(head, "time,received (By/s),sent (By/s)");
  assert.ok(rows.length > 800 && rows.every((row) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z,[\d.]*,[\d.]*$/.test(row)), rows[0]);
  assert.ok(rows.some((row) => row.endsWith(",,")), "what is missing is empty");
  await as("Latency distribution").click();
  await until("the distribution adds up", () => textOf(page, '[aria-label="Latency distribution, table"] tbody tr:last-child'), (text) => /100%$/.test(text ?? ""));
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(faults, []);
  await context.close();
});

for (const [args, words, what] of [
  [["--alone"], /No aggregator answers \(127\.0\.0\.1:23790: connection refused\)/, "no aggregator"],
  [["--empty"], /Waiting for the first second of aggregator agg-1/, "no second yet"],
  [["--nodes", "0"], /no node has reported/, "no node"],
]) {
  test(`where there is ${what} the page says so, and nothing else`, () =>
    onFeeder(args, DESKTOP, async (page) => {
      await until("the verdict line says it", () => textOf(page, ".verdict"), (text) => words.test(text ?? ""));
      const said = await until("every empty panel is calm", () =>
        page.$$eval(".absent, .ch-empty", (all) => all.map((e) => e.textContent)),
        (all) => all.length > 3 && all.filter((text) => text !== "No data yet.").every((text) => /No node has reported yet/.test(text)));
      assert.ok(said.length > 3);
      assert.equal(await page.locator(".tally a").count(), 0, "nothing is ticked");
    }));
}

test("shares of connections are of open ones, the header is the sum of the rows, and failed attempts are told apart", async () => {
  const { page, context } = await openPage(browser, feeder.url);
  const panel = page.locator("section.p", { hasText: "Connection health" });
  await until("attempts are said", () => panel.locator(".attempts").textContent(), (t) => /failed of .* tried/.test(t));
  // At once: the figures change every second.
  const [header, ...rows] = await panel.evaluate((at) => [
    at.querySelector(".note").textContent,
    ...[...at.querySelectorAll("tbody tr")].map((row) => [...row.cells].slice(0, 3).map((cell) => cell.textContent.trim())),
  ]);
  const number = (text) => Number(text.replace(/[^0-9.]/g, ""));
  const [open, tracked] = header.match(/[\d,.\u202f\u2009 ]*\d/g).map(number);
  const sum = (of) => of.reduce((all, [, sockets]) => all + number(sockets), 0);
  assert.equal(sum(rows), tracked, `${header}: ${rows}`);
  const shared = rows.filter(([, , share]) => share !== "");
  assert.deepEqual(shared.map(([label]) => label), ["Healthy", "Warning"]);
  assert.equal(sum(shared), open, `${header}: ${rows}`);
  const shares = shared.reduce((all, [, , share]) => all + Number.parseFloat(share), 0);
  assert.ok(Math.abs(shares - 100) < 1, `the open ones are the whole: ${rows}`);
  assert.doesNotMatch(await panel.locator("tbody").textContent(), /Error/);
  await context.close();
});

test("a cut connection, another server and silence are each reported as what they are", async () => {
  const { page, context, faults } = await openPage(browser, feeder.url);
  await says(page, "Live");
  assert.deepEqual(faults, [], "the console is clean");
  const banner = () => textOf(page, ".banner");
  await feeder.command("cut");
  await says(page, "Reconnecting");
  await until("the loss is shown", banner, (t) => /Connection lost|interrupted/.test(t ?? ""));
  const opacity = (selector) => page.$eval(selector, (e) => Number(getComputedStyle(e).opacity));
  for (const measured of [".ch", ".kpi .m", ".verdict > p", ".t td", ".arc"]) {
    assert.ok((await opacity(measured)) < 1, `${measured} is of the past and stays bright`);
  }
  await says(page, "Stale");
  await until("the verdict is of the past", () => textOf(page, ".verdict"), (t) => /Stale.*As of \d\d:\d\d:\d\d/.test(t ?? ""));
  assert.match(await textOf(page, ".foot"), /Data age/);
  assert.equal(await page.locator(".tally").count(), 0, "who reports is not known");
  await feeder.command("restart");
  // The button is gone already when the page was quicker.
  await page.getByRole("button", { name: "Retry now" }).click({ timeout: 2000 }).catch(() => {});
  await says(page, "Live");
  await eventually("the banner is gone", async () => (await page.locator(".banner").count()) === 0);
  await feeder.command("silence");
  await until("silence is shown", banner, (t) => /No new data/.test(t ?? ""));
  await context.close();
});

test("connections in detail are by state, port and node, the worst first", async () => {
  for (const size of [DESKTOP, PHONE]) {
    const { page, context, faults } = await openPage(browser, `${feeder.url}/`, { ...size });
    const panel = page.locator("section.p", { hasText: "Connection health" });
    await panel.locator("button", { hasText: "View details" }).click();
    const dialog = page.locator("dialog[open].dialog");
    await until("nodes are there, two of them as the worst", () => dialog.locator("td, th").locator("a").count(), (n) => n === 12);
    const tables = await dialog.locator("thead th:first-child").allTextContents();
    assert.deepEqual(tables, ["Most in trouble", "State", "Local port", "Node, the first 10 of 30"]);
    const ports = await dialog.locator("table").nth(2).locator("tbody tr").allTextContents();
    assert.match(ports[2], /^others, and outgoing.*100,345/);
    assert.deepEqual(await violations(page), []);
    const wide = await dialog.evaluate((is) => is.scrollWidth - is.clientWidth);
    assert.ok(wide <= 1, `nothing is cut off at ${size.width}: ${wide}`);
    await dialog.screenshot({ path: `${screenshots}/connection-details-${size.width}.png` });
    await dialog.locator("button", { hasText: "Close" }).click();
    await until("it is closed", () => page.locator("dialog[open]").count(), (n) => n === 0);
    assert.deepEqual(faults, []);
    await context.close();
  }
});

test("on paper all is light, with its time, its completeness and its address, and no bar lies over it", async () => {
  const { page, context, faults } = await openPage(browser, feeder.url, { ...DESKTOP, theme: "dark" });
  await page.waitForSelector(".ch .uplot");
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.match(await ground(), /rgb\((\d|1\d), /, "dark before");
  await page.emulateMedia({ media: "print" });
  await page.evaluate(() => window.dispatchEvent(new Event("beforeprint")));
  assert.match(await ground(), /rgb\(24\d, /);
  // The lines were drawn again at once: the grid of a light chart is lighter than that of a dark one.
  const lightest = await page.locator(".ch canvas").first().evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let most = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 250) most = Math.max(most, data[i]);
    return most;
  });
  assert.ok(lightest > 225, `${lightest}`);
  assert.ok(await page.locator(".side").isHidden());
  assert.match(await textOf(page, ".print-head"), /\d{4}-\d\d-\d\dT.*of \d+ nodes reporting.*http/s);
  await page.evaluate(() => window.dispatchEvent(new Event("afterprint")));
  await page.emulateMedia({ media: "screen" });
  assert.match(await ground(), /rgb\((\d|1\d), /, "dark again");
  const pdf = await page.pdf({ format: "A4" });
  assert.ok(pdf.length > 20_000, `${pdf.length} bytes`);
  assert.deepEqual(faults, []);
  await context.close();
});

test("forced colours and twice the size keep everything usable", async () => {
  const { page, context, faults } = await openPage(browser, feeder.url, { width: 720, height: 450, theme: "dark" });
  await page.emulateMedia({ forcedColors: "active" });
  await page.waitForSelector(".ch .uplot");
  const pressed = page.locator('.seg [aria-pressed="true"]').first();
  const other = page.locator('.seg [aria-pressed="false"]').first();
  const background = (of) => of.evaluate((is) => getComputedStyle(is).backgroundColor);
  assert.notEqual(await background(pressed), await background(other), "what is chosen is seen");
  assert.deepEqual(await violations(page), []);
  assert.ok(await fitsInWidth(page));
  await page.screenshot({ path: `${screenshots}/forced-colours.png`, fullPage: true });
  assert.deepEqual(faults, []);
  await context.close();
});

for (const look of LOOKS) {
  test(`the processes of a node are read once they are looked at, ${look.theme}, ${look.width} wide`, async () => {
    const { page, context, faults } = await openPage(browser, `${feeder.url}/nodes/node-r03-19`, look);
    const asked = [];
    page.on("request", (request) => request.url().endsWith("/detail?") && asked.push(request.url()));
    await says(page, "Live");
    await page.locator("h2", { hasText: "Processes now" }).scrollIntoViewIfNeeded();
    const rows = page.locator(".processes tbody tr");
    await until("rows", () => rows.count(), (count) => count === 10);
    assert.match(await rows.first().textContent(), /java/);
    await page.getByRole("group", { name: "Processes by" }).getByRole("button", { name: "Memory" }).click();
    await until("the largest first", () => rows.first().textContent(), (text) => text.includes("4.66"));
    await page.getByRole("button", { name: "4 more" }).click();
    await until("all rows", () => rows.count(), (count) => count === 14);
    assert.match(await page.locator("section", { has: page.locator(".processes") }).locator(".note").textContent(), /looking costs the host 0\.34/);
    assert.deepEqual(await violations(page), []);
    assert.ok(await fitsInWidth(page));
    assert.deepEqual(faults, []);
    assert.ok(asked.length >= 1);
    await context.close();
    const after = asked.length;
    await new Promise((done) => setTimeout(done, 1_500));
    assert.equal(asked.length, after, "a page that is closed asks nothing");
  });
}

// The address holds what is shown, links with fixed times show the same again, one act is one step back, and the field of the
// top bar finds nodes, series and pages while one types.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  DESKTOP, eventually, fitsInWidth, LOOKS, onPage, openPage, PHONE, says, screenshots, startBrowser, startFeeder, textOf, until, violations,
} from "./harness.mjs";

let feeder;
let browser;
before(async () => {
  [feeder, browser] = await Promise.all([startFeeder("--nodes", "60"), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await feeder?.stop();
});

const on = (path, use, size = DESKTOP) => onPage(browser, feeder.url + path, use, size);
const options = (page) => page.$$eval(".find [role=option]", (all) => all.map((is) => is.textContent));
const sentence = (page) => page.locator(".ch").first().getAttribute("aria-label");
const steps = (page) => page.evaluate(() => history.length);
const parameter = (page, name) => new URL(page.url()).searchParams.get(name);

async function drag(page) {
  await eventually("the chart is drawn", () => page.locator(".ch canvas").count());
  const chart = await page.locator(".ch").first().boundingBox();
  await page.mouse.move(chart.x + 200, chart.y + 80);
  await page.mouse.down();
  await page.mouse.move(chart.x + 400, chart.y + 80, { steps: 4 });
  await page.mouse.up();
}

test("a zoom is one step and in the address; Back leaves it, and opened again it shows the same seconds", () =>
  on("/", async (page) => {
    await until("numbers are there", () => sentence(page), (text) => /HTTP/.test(text ?? ""));
    const before = await steps(page);
    await drag(page);
    const zoom = await until("it is in the address", async () => parameter(page, "zoom"), (text) => /^\d+-\d+$/.test(text ?? ""));
    assert.equal(await steps(page), before + 1, "one act, one step");
    await page.goBack();
    await says(page, "Live");
    assert.equal(await page.locator(".pinchip").count(), 0);
    await page.goForward();
    await says(page, "Paused");
    const [from, to] = zoom.split("-");
    await page.reload();
    await until("it is a part of the past", async () => page.url(), (url) =>
      url.includes(`range=custom&from=${from}&to=${to}`) || (url.includes(`from=${from}`) && url.includes(`to=${to}`) && !url.includes("zoom=")));
    await until("the same seconds", () => textOf(page, '[aria-label="Range of time"] [aria-pressed="true"]'), (text) => text === "Custom");
  }));

test("ticks, typing and opening add no step; a pause, a style and a fill are in the address", () =>
  on("/?style=lines", async (page) => {
    await until("it is drawn", () => sentence(page), (text) => /HTTP/.test(text ?? ""));
    const before = await steps(page);
    assert.equal(await textOf(page, '[aria-label="Draw as"] [aria-pressed="true"]'), "Lines");
    await page.keyboard.press("Space");
    await until("the pause is in the address", async () => parameter(page, "paused"), (text) => /^\d+$/.test(text ?? ""));
    await page.keyboard.press("Space");
    await until("and out of it", async () => parameter(page, "paused"), (text) => text === null);
    await page.locator('[aria-label="Fill by"] button', { hasText: "p99" }).click();
    assert.equal(await steps(page), before);
    await page.locator(".nav a", { hasText: "Nodes" }).click();
    await page.waitForSelector("table.nodes tbody tr");
    await page.keyboard.press("/");
    await page.keyboard.type("zone:a ");
    await until("what is typed filters", async () => parameter(page, "q"), (text) => text?.startsWith("zone:a"));
    assert.equal(await steps(page), before + 1, "the page alone is a step");
    await page.keyboard.press("Escape");
    await page.locator(".nav a", { hasText: "Overview" }).click();
    assert.equal(parameter(page, "fill"), "p99", "how the map is drawn survives the trip");
    await page.goto(`${feeder.url}/nodes/`);
    await page.waitForSelector("table.nodes tbody tr");
  }));

test("the Tab key goes through the page of nodes in a finite number of steps, arrows through its rows", () =>
  on("/nodes", async (page) => {
    await page.waitForSelector("table.nodes tbody tr[data-node]");
    const within = () => page.evaluate(() => document.activeElement.closest("tr[data-node]")?.dataset.node ?? null);
    let stops = 0;
    let inTable = 0;
    for (; stops < 80; stops++) {
      await page.keyboard.press("Tab");
      if (await within()) inTable++;
      else if (inTable > 0 || (await page.evaluate(() => document.activeElement === document.body && true)) && stops > 5) break;
    }
    assert.ok(stops < 80, "80 steps and no end");
    assert.equal(inTable, 2, "a box and a link of one row");
    await page.locator("table.nodes tbody a").first().focus();
    const first = await within();
    await page.keyboard.press("ArrowDown");
    const second = await within();
    assert.notEqual(second, first);
    await page.keyboard.press("End");
    assert.notEqual(await within(), second);
    await page.keyboard.press("Home");
    assert.equal(await within(), first);
  }));

test("the head of the table of nodes stays in sight, and the map is hidden by choice", () =>
  on("/nodes", async (page) => {
    await page.waitForSelector(".wide.fits");
    await page.evaluate(() => window.scrollTo(0, 1500));
    const top = await page.locator("table.nodes thead th").first().evaluate((is) => is.getBoundingClientRect().top);
    assert.ok(top >= 49 && top <= 52, `${top}`);
    await page.evaluate(() => window.scrollTo(0, 0));
    await page.locator("button", { hasText: "Hide the map" }).click();
    await until("it is hidden", () => page.locator(".hm").count(), (n) => n === 0);
    assert.equal(parameter(page, "map"), "hidden");
  }));

test("a link with fixed times shows the same again; what was not copied is not called copied", async () => {
  const { page, context } = await openPage(browser, `${feeder.url}/?fill=p99`);
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await until("it is drawn", () => sentence(page), (text) => /HTTP/.test(text ?? ""));
  const open = page.locator('[aria-label="Copy a link to this view"]');
  await open.click();
  assert.match(await textOf(page, ".menu-list"), /live, the last 15 minutes.*\d\d:\d\d:\d\d to \d\d:\d\d:\d\d UTC/s);
  assert.deepEqual(await violations(page), []);
  await page.locator(".menu-list button", { hasText: "fixed times" }).click();
  await until("it says so", () => page.locator('[aria-label="Link copied"]').count(), (n) => n === 1);
  const link = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(link, /\?fill=p99&range=custom&from=\d+&to=\d+$/);
  await page.goto(link);
  await until("it is fixed", () => textOf(page, '[aria-label="Range of time"] [aria-pressed="true"]'), (text) => text === "Custom");
  // Plain HTTP by a name has no clipboard; a browser may refuse the old way too.
  await page.evaluate(() => {
    Object.defineProperty(navigator, "clipboard", { value: undefined });
    document.execCommand = () => false;
  });
  await open.click();
  await page.locator(".menu-list button", { hasText: "fixed times" }).click();
  await until("the link is selected", () => page.evaluate(() => document.activeElement.value), (text) => text?.includes("range=custom"));
  assert.match(await textOf(page, ".menu-list"), /Press Ctrl\+C/);
  assert.equal(await page.locator('[aria-label="Link copied"]').count(), 0);
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Copy a link to this view");
  await context.close();
});

test("a pin outside of what is shown says so and leads there", () =>
  on(`/?at=${Math.floor(Date.now() / 1000) - 5 * 3600}`, async (page) => {
    await until("it is said", () => textOf(page, ".pinrow"), (text) => /outside of the time/.test(text ?? ""));
    await page.locator(".pinrow button", { hasText: "Show the minutes around it" }).click();
    await until("it is inside", () => page.locator(".pinrow .warn").count(), (n) => n === 0);
    assert.ok(parameter(page, "at"));
  }));

for (const look of LOOKS) {
  test(`nodes, series and pages are found while typing, ${look.theme}, ${look.width} wide`, () =>
    on("/", async (page) => {
      if (look.width === PHONE.width) await page.locator('[aria-label="Find"]').click();
      else await page.keyboard.press("/");
      await page.waitForFunction(() => document.activeElement?.id === "find");
      await page.keyboard.type("r01-0");
      await until("nodes", () => options(page), (all) => all.length >= 5 && all.every((is) => is.startsWith("node-r01-0")));
      assert.deepEqual(await violations(page), []);
      assert.ok(await fitsInWidth(page));
      await page.screenshot({ path: `${screenshots}/find-${look.width}-${look.theme}.png` });
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("Enter");
      await until("the node opens", async () => page.url(), (url) => /\/nodes\/node-r01-0\d/.test(url));
      if (look.width === PHONE.width) return;
      await page.keyboard.press("/");
      await page.keyboard.type("latency");
      await until("a page and a series", () => options(page), (all) => all.some((is) => is === "Latency and traffic") && all.some((is) => is.startsWith("app.latency")));
      await page.keyboard.type(" zzz");
      await until("nothing is said", () => textOf(page, ".find .combo-more"), (text) => /No node, series or page/.test(text ?? ""));
      await page.locator("#find").fill("state:silent");
      await page.keyboard.press("Enter");
      await until("Enter lists", async () => page.url(), (url) => url.endsWith("/nodes?q=state%3Asilent"));
    }, look));
}

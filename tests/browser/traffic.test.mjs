// The page "Latency and traffic": services and routes on INVENTED data (long and hostile names), and on a real `starling up` the
// way from no application to its figures.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import {
  DESKTOP, fitsInWidth, LOOKS, onPage, PHONE, screenshots, startBrowser, startFeeder, startRestartable, textOf, until, violations,
} from "./harness.mjs";

const ROWS = "table.services tbody tr";
let feeder;
let browser;
before(async () => {
  [feeder, browser] = await Promise.all([startFeeder("--nodes", "3"), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await feeder?.stop();
});

const on = (path, use, size = DESKTOP, at = feeder) => onPage(browser, at.url + path, use, size);

const rows = (page) => page.$$eval(ROWS, (all) => all.map((row) => [...row.cells].map((cell) => cell.textContent)));
const row = (page, name) => page.locator(ROWS).filter({ hasText: name }).first();

for (const look of LOOKS) {
  test(`services are a table without faults, ${look.theme}, ${look.width} wide`, () =>
    on("/traffic?service=shop", async (page) => {
      await page.waitForSelector("table.services .route");
      await page.waitForSelector(".ch canvas");
      assert.deepEqual(await violations(page), []);
      assert.ok(await fitsInWidth(page), "the page scrolls sideways");
      await page.screenshot({ path: `${screenshots}/traffic-${look.width}-${look.theme}.png`, fullPage: true });
    }, look));
}

test("a service opens to its routes, which the address holds", () =>
  on("/", async (page) => {
    await page.locator(".nav a[href='/traffic']").click();
    await page.waitForSelector(ROWS);
    const shown = await rows(page);
    const shop = shown.find(([name]) => name === "shop");
    assert.match(shop[1], /^120/);
    assert.match(shop[2], /^3\.3/);
    assert.match(shop[5], /^2xx 96\.7%, 5xx 3\.3/);
    assert.match(shown.find(([name]) => name === "orders")[4], /–/, "coarse buckets are a range");
    assert.match(shown.find(([name]) => name.startsWith("unknown_service:java"))[0], /OTEL_SERVICE_NAME/);
    assert.match(shown.find(([name]) => name.startsWith("_other"))[0], /beyond/);
    assert.equal(await page.locator(`${ROWS}.route`).count(), 0);
    await row(page, "shop").locator("button").click();
    await page.waitForSelector(`${ROWS}.route`);
    assert.match(page.url(), /service=shop/);
    const opened = (await rows(page)).map(([name]) => name);
    assert.ok(opened.includes("/item/{number}") && opened.includes("without a route"), opened.join(" | "));
    assert.ok(opened.some((name) => name.startsWith("3 further routes not listed")), opened.join(" | "));
    await row(page, "shop").locator("button").click();
    await until("it is closed", () => page.locator(`${ROWS}.route`).count(), (n) => n === 0);
  }));

test("a hostile name is text, cut, whole in its title, and turns nothing around it", () =>
  on("/traffic", async (page) => {
    await page.waitForSelector(ROWS);
    const name = page.locator("bdi.cut", { hasText: '<b>"&' }).first();
    const [box, title, turned] = [await name.boundingBox(), await name.getAttribute("title"), await textOf(page, "table.services b")];
    assert.ok(box.width < 340, `${box.width} px`);
    assert.ok(title.length > 300);
    assert.equal(turned, null, "no markup came out of it");
    assert.equal(await name.evaluate((is) => getComputedStyle(is).unicodeBidi), "isolate");
  }));

test("without an application it is said how to send the first request, Starling's own do not count, and figures come by themselves", async () => {
  const real = await startRestartable();
  try {
    await on("/cluster", async (page) => {
      await until(
        "Starling's own requests are shown",
        () => textOf(page, "table.own-requests tbody td"),
        (text) => Number(text) > 0,
        60_000,
      );
      assert.deepEqual(await violations(page), []);
      await page.screenshot({ path: `${screenshots}/own-requests.png`, fullPage: true });
    }, DESKTOP, real);
    const rps = await (await fetch(`${real.url}/api/v1/metrics/protocols`)).json();
    assert.deepEqual(rps.protocols, [], "Starling's own requests are no traffic of the cluster");
    await on("/traffic?how=Python", async (page) => {
      await page.waitForSelector(".first-request pre");
      assert.deepEqual(await violations(page), []);
      assert.ok(await fitsInWidth(page), "the page scrolls sideways");
      await page.screenshot({ path: `${screenshots}/first-request-phone.png`, fullPage: true });
    }, PHONE, real);
    await on("/", async (page) => {
      // One panel says what to do, the others stay calm.
      assert.equal(await page.locator("a", { hasText: "How to send the first one" }).count(), 1);
      assert.equal(await page.locator("main", { hasText: "4317" }).count(), 0);
      await page.locator(".ch-empty a", { hasText: "How to send the first one" }).click();
      await page.waitForSelector(".first-request pre");
      const lines = await until("the example has the port that this daemon has", () => textOf(page, ".first-request pre"), (text) =>
        text.includes(real.otlpHttp));
      assert.match(await textOf(page, ".receiver"), /OTLP by HTTP at .*from programs on .* itself alone/);
      await page.screenshot({ path: `${screenshots}/first-request.png`, fullPage: true });
      // What is copied from the page, as it stands there.
      const answer = await promisify(execFile)("bash", ["-c", lines]);
      assert.match(answer.stdout, /^\{/);
      const shown = await until("the service appears", () => rows(page), (all) => all.some(([name]) => name === "hello"));
      assert.deepEqual(shown.map(([name]) => name), ["hello"], "of no service of Starling's own");
      await row(page, "hello").locator("button").click();
      await until("its route too", () => rows(page), (all) => all.some(([name]) => name === "/hello"));
    }, DESKTOP, real);
  } finally {
    await real.stop();
  }
});

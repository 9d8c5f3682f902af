// Settings: what is chosen holds on every page and after a reload, and the limits are those of the server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  DESKTOP, fitsInWidth, LOOKS, onPage, screenshots, startBrowser, startFeeder, textOf, until, violations,
} from "./harness.mjs";

let feeder;
let browser;
before(async () => {
  [feeder, browser] = await Promise.all([startFeeder("--nodes", "12"), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await feeder?.stop();
});

const on = (path, use, size = DESKTOP) => onPage(browser, feeder.url + path, use, size);
const choose = (page, label, name) => page.locator(`[aria-label="${label}"] button`, { hasText: name }).click();

for (const look of LOOKS) {
  test(`axe finds nothing on Settings, ${look.theme}, ${look.width} wide`, () =>
    on("/settings", async (page) => {
      await page.waitForSelector(".settings table tbody tr");
      await choose(page, "Time zone", "Another");
      assert.deepEqual(await violations(page), []);
      assert.ok(await fitsInWidth(page));
      await page.screenshot({ path: `${screenshots}/settings-${look.width}-${look.theme}.png`, fullPage: true });
    }, look));
}

test("a zone, units, a theme and a density hold everywhere and after a reload, until they are forgotten", () =>
  on("/", async (page) => {
    await page.keyboard.press("g");
    await page.keyboard.press(",");
    await page.waitForSelector(".settings");
    await choose(page, "Time zone", "Another");
    const name = page.locator('[aria-label="Name of the time zone"]');
    await name.fill("Mars/Olympus");
    await name.press("Enter");
    await until("what is none is refused in words", () => textOf(page, ".settings [role=alert]"), (text) => /no time zone Mars/.test(text ?? ""));
    await name.fill("Asia/Kathmandu");
    await name.press("Enter");
    await choose(page, "Memory", "kB");
    await choose(page, "Networks", "bytes");
    await choose(page, "Theme", "Light");
    await choose(page, "Density", "Compact");
    for (const again of [false, true]) {
      if (again) await page.reload();
      else await page.locator(".nav a", { hasText: "Overview" }).click();
      if (again) await page.goto(`${feeder.url}/`);
      const clockThere = () => {
        const there = new Date(Date.now() + (5 * 60 + 45) * 60_000);
        return there.toISOString().slice(11, 16);
      };
      await until("the clock of Nepal", () => textOf(page, ".live time"), (text) => text?.startsWith(clockThere()) || text?.startsWith(new Date(Date.now() + 20_640_000).toISOString().slice(11, 16)));
      await until("memory in GB or TB", () => textOf(page, ".kpi:last-child"), (text) => /[GT]B/.test(text ?? "") && !/iB/.test(text));
      const network = page.locator(".p", { has: page.locator("h2", { hasText: /^Network$/ }) });
      await until("networks in bytes", () => network.textContent(), (text) => /bytes per second/.test(text) && /B\/s/.test(text));
      assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "light");
      assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector(".grid")).gap), "8px");
    }
    await page.goto(`${feeder.url}/settings`);
    await page.locator("button", { hasText: "Forget all choices" }).click();
    assert.equal(await page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith("starling.")).length), 0);
    await until("the zone of the browser", () => textOf(page, ".foot"), (text) => /UTC/.test(text));
  }));

test("the limits are the rules of the server, to be read only", () =>
  on("/settings", async (page) => {
    const { rules } = await (await fetch(`${feeder.url}/api/v1/rules`)).json();
    await until("each has a row", () => page.locator(".settings table tbody tr").count(), (n) => n === rules.length);
    assert.equal(await page.locator(".settings table input, .settings table button").count(), 0);
  }));

test("a browser that forbids storage says so and works", () =>
  on("/", async (page) => {
    await page.addInitScript(() => {
      Object.defineProperty(window, "localStorage", { get: () => { throw new DOMException("no", "SecurityError"); } });
    });
    await page.goto(`${feeder.url}/settings`);
    await until("it is said", () => textOf(page, ".settings"), (text) => /forbids storage/.test(text ?? ""));
    await choose(page, "Theme", "Light");
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "light");
  }));

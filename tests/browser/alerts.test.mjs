// The alerts panel on INVENTED alerts of the test feeder: what is said, acknowledging, details, by pointer and by keyboard.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  DESKTOP, fitsInWidth, LOOKS, openPage, PHONE, startBrowser, startFeeder, textOf, until, violations,
} from "./harness.mjs";

let browser;
before(async () => {
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
});

/** A page over a feeder of its own, which ends with it. */
async function on(args, size, look, path = "/") {
  const feeder = await startFeeder(...args);
  try {
    const { page, context, faults } = await openPage(browser, feeder.url + path, size);
    await look(page);
    assert.deepEqual(faults, []);
    await context.close();
  } finally {
    await feeder.stop();
  }
}

const titles = (page) => page.$$eval(".alerts .h b", (all) => all.map((e) => e.textContent));

for (const look of LOOKS) {
  test(`axe finds nothing with a dialog open, ${look.theme}, ${look.width} wide`, () =>
    on(["--nodes", "248"], look, async (page) => {
      await page.locator(".alerts button", { hasText: "View details" }).first().click();
      await page.waitForSelector("dialog[open] pre");
      assert.deepEqual(await violations(page), []);
      await page.keyboard.press("Escape");
      await page.locator(".alerts button", { hasText: "Acknowledge" }).first().click();
      await page.waitForSelector("dialog[open] input");
      assert.deepEqual(await violations(page), []);
      assert.ok(await fitsInWidth(page));
    }));
}

test("the worst stands first, with its value, its limit, its age and what to do", () =>
  on(["--nodes", "248"], DESKTOP, async (page) => {
    await until("four are open", () => titles(page), (all) => all.length === 4);
    assert.deepEqual(await titles(page), ["Node slow", "Node gone", "Disk full /var/lib", "Errors grpc"]);
    const first = await textOf(page, ".alerts li");
    for (const said of ["critical", "6.1", "limit 3", "Take it out of the balancer", "Acknowledge", "View details"]) {
      assert.ok(first.includes(said), `${said} is not in: ${first}`);
    }
    assert.match(await textOf(page, ".alerts time"), /2\s*m/);
    // Where its node is, is a click away.
    await page.locator(".alerts .h a").first().click();
    await until("the page of the node", () => page.url(), (url) => url.includes("/nodes/node-"));
    await until("its own alerts", () => titles(page), (all) => all.length > 0 && !all.includes("Errors grpc"));
  }));

test("acknowledged by keyboard it sinks, says who, and the name is remembered", () =>
  on(["--nodes", "248"], DESKTOP, async (page) => {
    await page.locator(".alerts button", { hasText: "Acknowledge" }).first().focus();
    await page.keyboard.press("Enter");
    await page.waitForSelector("dialog[open] input[name=who]");
    await page.locator("dialog input[name=who]").fill("op-1");
    await page.keyboard.press("Tab");
    await page.keyboard.type("looking");
    await page.keyboard.press("Enter");
    await until("the dialog is closed", () => page.locator("dialog[open]").count(), (n) => n === 0);
    const said = () => textOf(page, ".alerts .who");
    await until("who and why are said", said, (text) => /Acknowledged by op-1.*looking/.test(text ?? ""));
    // The list keeps still while it holds the focus, and sorts itself when that has gone.
    await page.locator("h1").click();
    await until("it sank", () => titles(page), (all) => all[3] === "Node slow");
    await page.locator(".alerts button", { hasText: "Acknowledge" }).first().click();
    assert.equal(await page.locator("dialog input[name=who]").inputValue(), "op-1");
    await page.keyboard.press("Escape");
    await page.locator(".alerts button", { hasText: "Take back" }).click();
    await until("nobody looks after it", () => page.locator(".alerts .who").count(), (n) => n === 0);
  }));

test("details say the rule and what it computes", () =>
  on(["--nodes", "248"], PHONE, async (page) => {
    await page.locator(".alerts button", { hasText: "View details" }).first().click();
    await until("the expression", () => textOf(page, "dialog pre"), (text) => text?.includes("p99(traffic.duration[60s])"));
    const facts = await textOf(page, "dialog dl");
    for (const said of ["node-slow", "At firing", "above 3", "247 of 248"]) {
      assert.ok(facts.includes(said), `${said} is not in: ${facts}`);
    }
    assert.equal(await page.locator("dialog a", { hasText: "Runbook" }).getAttribute("rel"), "noreferrer");
  }));

test("a storm is shown in part and does not make the page longer", () =>
  on(["--nodes", "248", "--alerts", "400"], DESKTOP, async (page) => {
    await until("fifty and the rest", () => page.locator(".alerts li").count(), (n) => n === 51);
    assert.match(await textOf(page, ".alerts .more"), /350 more/);
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    assert.ok(height < 3000, `the page is ${height} px tall`);
  }));

test("nothing open says what is watched, and no alerts say why", async () => {
  const said = (page, words) =>
    until(words, () => page.locator(".absent").allTextContents(), (all) => all.some((text) => text.includes(words)));
  await on(["--nodes", "3", "--alerts", "0"], DESKTOP, (page) => said(page, "No alert is open. 27 rules watched"));
  await on(["--nodes", "3", "--unjudged"], DESKTOP, (page) => said(page, "Alerts are not known: this aggregator"));
});

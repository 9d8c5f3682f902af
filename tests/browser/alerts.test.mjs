// The alerts panel on INVENTED alerts of the test feeder: what is said, acknowledging, details, by pointer and by keyboard.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  DESKTOP, fitsInWidth, LOOKS, onPage, PHONE, startBrowser, startFeeder, textOf, until, violations,
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
    await onPage(browser, feeder.url + path, look, size);
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

for (const look of LOOKS) {
  test(`details have a chart of the value with its limit, ${look.theme}, ${look.width} wide`, () =>
    on(["--nodes", "248"], look, async (page) => {
      for (const [rule, limit] of [["Disk full", "limit 90"], ["Errors", "limit 1"]]) {
        const alert = page.locator(".alerts li", { hasText: rule });
        await alert.locator("button", { hasText: "View details" }).click();
        await page.waitForSelector("dialog[open] .alert-chart .trend-line");
        assert.match(await textOf(page, "dialog .trend-limit text"), new RegExp(limit));
        const [line, limitAt] = await page.$eval("dialog .alert-chart", (chart) => {
          const box = chart.querySelector(".trend-line").getBBox();
          return [[box.y, box.width], Number(chart.querySelector(".trend-limit line").getAttribute("y1"))];
        });
        assert.ok(line[0] < limitAt && line[1] > 150, `a line from ${line[0]}, the limit at ${limitAt}`);
        assert.deepEqual(await violations(page), []);
        assert.ok(await fitsInWidth(page));
        if (process.env.STARLING_SHOTS) {
          const name = `alert-${rule.slice(0, 4).toLowerCase()}-${look.width}-${look.theme}.png`;
          await page.screenshot({ path: `${process.env.STARLING_SHOTS}/${name}` });
        }
        await page.keyboard.press("Escape");
      }
      // One that is made of no series that is kept has none.
      await page.locator(".alerts li", { hasText: "Node gone" }).locator("button", { hasText: "View details" }).click();
      await page.waitForSelector("dialog[open] pre");
      assert.equal(await page.locator("dialog .alert-chart").count(), 0);
    }));
}

test("a storm is shown in part and does not make the page longer", () =>
  on(["--nodes", "248", "--alerts", "400"], DESKTOP, async (page) => {
    await until("fifty and the rest", () => page.locator(".alerts li").count(), (n) => n === 51);
    assert.match(await textOf(page, ".alerts .more"), /350 more/);
    const [height, whole] = await page.$eval(".alerts", (list) => [list.clientHeight, list.scrollHeight]);
    assert.ok(height < 400 && whole > 2 * height, `a list of ${whole} px is ${height} px tall`);
  }));

const rows = (page, table) => page.locator(`section[aria-label="${table}"] tbody tr`);

for (const look of LOOKS) {
  test(`axe finds nothing in the silence dialog, ${look.theme}, ${look.width} wide`, () =>
    on(["--nodes", "248"], look, async (page) => {
      await page.locator("button", { hasText: "New silence" }).click();
      await page.waitForSelector("dialog[open] .matcher");
      assert.deepEqual(await violations(page), []);
      assert.ok(await fitsInWidth(page));
    }, "/alerts"));
}

test("the page of alerts: one below what explains it, found by words, silenced with a preview, ended again", () =>
  on(["--nodes", "248", "--alerts", "8"], DESKTOP, async (page) => {
    const open = rows(page, "Table of open alerts");
    await until("eight are open", () => open.count(), (n) => n === 8);
    const under = await page.locator(".open-alerts th.under").textContent();
    assert.match(under, /Node slow/);
    await page.locator('input[aria-label^="Filter alerts"]').fill("disk node-r07-04");
    await until("one has these words", () => open.count(), (n) => n === 1);
    assert.match(page.url(), /q=disk/, "the address says so");
    await open.first().locator("button", { hasText: "Silence" }).click();
    await until("what it covers", () => textOf(page, "dialog .said"), (text) => text?.includes("Covers 1 open alert now"));
    const values = await page.locator("dialog .matcher input").evaluateAll((all) => all.map((e) => e.value));
    assert.deepEqual(values, [
      "rule", "disk-full", "node", "node-r07-04", "system.filesystem.mountpoint", "/var/lib",
    ]);
    await page.locator('dialog input[aria-label="Value of matcher 2"]').fill("web-9");
    await until("nothing", () => textOf(page, "dialog .said"), (text) => text?.includes("Covers no open alert now"));
    await page.locator('dialog input[aria-label="Value of matcher 2"]').fill("node-r07-04");
    await page.locator("dialog input[name=who]").fill("op-1");
    await page.locator("dialog input[name=comment]").fill("moved tonight");
    await page.locator("dialog button.main").click();
    await until("it is silenced", () => open.first().textContent(), (text) => text.includes("silenced"));
    const silences = rows(page, "Table of silences");
    await until("who and why", () => silences.allTextContents(), (all) => all.length === 1 && /op-1.*moved tonight/.test(all[0]));
    await silences.locator("button", { hasText: "End now" }).click();
    await until("it fires again", () => open.first().textContent(), (text) => text.includes("firing"));
    await until("it ended", () => silences.allTextContents(), ([first]) => first.includes("ended"));
  }, "/alerts"));

test("past alerts are turned by pages, rules are shown on request", () =>
  on(["--nodes", "248"], DESKTOP, async (page) => {
    const past = rows(page, "Table of past alerts");
    await until("a page of fifty", () => past.count(), (n) => n === 50);
    await page.locator("button", { hasText: "Older" }).click();
    await until("the rest", () => past.count(), (n) => n === 30);
    await page.locator("button", { hasText: "Newer" }).click();
    await until("the newest again", () => past.count(), (n) => n === 50);
    await page.locator("button", { hasText: "Show" }).click();
    await until("the rules", () => rows(page, "Table of rules").allTextContents(), (all) => all.some((text) => text.includes("node.silent_seconds")));
  }, "/alerts"));

test("nothing open says what is watched, and no alerts say why", async () => {
  const said = (page, words) =>
    until(words, () => page.locator(".absent").allTextContents(), (all) => all.some((text) => text.includes(words)));
  await on(["--nodes", "3", "--alerts", "0"], DESKTOP, (page) => said(page, "No alert is open. 27 rules watched"));
  await on(["--nodes", "3", "--unjudged"], DESKTOP, (page) => said(page, "Alerts are not known: this aggregator"));
});

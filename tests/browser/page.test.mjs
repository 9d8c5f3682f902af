// The page in a real browser against a real `starling up`: numbers move, nothing errs, axe finds nothing, and what the
// page says of this host is what /proc says.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { after, before, test } from "node:test";
import {
  cards, eventually, fitsInWidth, hasDigits, LOOKS, openPage, says, screenshots, startBrowser, startStarling, violations,
} from "./harness.mjs";

let starling;
let browser;
before(async () => {
  [starling, browser] = await Promise.all([startStarling("--aggregators", "3", "--nodes", "6"), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await starling?.stop();
});

for (const look of LOOKS) {
  test(`every page, ${look.theme}, ${look.width} wide`, async () => {
    const { page, context, faults } = await openPage(browser, starling.url, look);
    const looked = async (name) => {
      assert.deepEqual(await violations(page), [], `axe on ${name}`);
      assert.ok(await fitsInWidth(page), `${name} scrolls sideways`);
      await page.screenshot({ path: `${screenshots}/${name}-${look.width}-${look.theme}.png`, fullPage: true });
    };
    await eventually("every card has a number", async () => {
      const now = await cards(page);
      return ["Requests", "CPU", "Memory", "Connections"].every((label) => hasDigits(now[label])) && now;
    });
    await eventually("six nodes report", () => page.evaluate(() => /6 reporting/.test(document.body.textContent)));
    const first = await page.$eval(".kpis", (row) => row.textContent);
    await eventually("numbers change", async () => (await page.$eval(".kpis", (row) => row.textContent)) !== first);
    await looked("overview");

    await page.goto(`${starling.url}/nodes`);
    const href = await eventually("a simulated node is listed", () =>
      page.$$eval("a[href^='/nodes/sim-']", (links) => links[0]?.getAttribute("href")));
    await looked("nodes");

    await page.goto(starling.url + href);
    await eventually("the node's cards have numbers", async () => hasDigits((await cards(page)).CPU));
    assert.match(await page.evaluate(() => document.body.textContent), /simulated/i, "a replay is labelled");
    await looked("node");

    await page.goto(`${starling.url}/cluster`);
    await eventually("three aggregators are listed", () => page.evaluate(() => document.querySelectorAll("tbody tr").length >= 3));
    await looked("cluster");
    assert.deepEqual(faults, []);
    await context.close();
  });
}

test("what is shown of this host is what the kernel says", async () => {
  const nodes = await (await fetch(`${starling.url}/api/v1/nodes`)).json();
  const host = nodes.nodes.find((node) => !node.simulated);
  const memory = await (await fetch(`${starling.url}/api/v1/system/memory?node=${host.nodeId}`)).json();
  const total = Number(/MemTotal:\s+(\d+)/.exec(readFileSync("/proc/meminfo", "utf8"))[1]) * 1024;
  assert.equal(memory.totalBytes, total);
  const cpu = await (await fetch(`${starling.url}/api/v1/system/cpu?node=${host.nodeId}`)).json();
  assert.equal(cpu.coreUtilizationRatios.length, cpus().length);
});

test("what is watched and what is open is what the aggregators judge", async () => {
  const { rules } = await (await fetch(`${starling.url}/api/v1/rules`)).json();
  assert.ok(rules.length > 10, `${rules.length} rules`);
  const { page, context, faults } = await openPage(browser, starling.url);
  const panel = page.locator("section.p", { has: page.locator("h2", { hasText: "Performance alerts" }) });
  await eventually("the panel says what is open, or how many rules are watched", async () => {
    const [text, { alerts, unavailable }] = await Promise.all([
      panel.textContent(), (await fetch(`${starling.url}/api/v1/alerts`)).json(),
    ]);
    assert.equal(unavailable, null);
    const words = alerts.length === 0 ? `${rules.length} rules watched` : `${alerts.length} open`;
    return text.includes(words);
  });
  assert.deepEqual(faults, []);
  await context.close();
});

test("reports are on paper without a script, as a file, and agree with what is answered", async () => {
  const context = await browser.newContext({ colorScheme: "light" });
  const page = await context.newPage();
  const refused = [];
  const report = await eventually("six nodes have ports", async () => {
    const all = await (await fetch(`${starling.url}/api/v1/connections/report`)).json();
    return all.nodes?.length === 6 && all.ports.length > 1 && all;
  });
  page.on("console", (message) => message.type() === "error" && refused.push(message.text()));
  for (const [path, title] of [
    ["/api/v1/connections/report?format=html", "TCP connections"],
    ["/api/v1/report?format=html", "State of the cluster"],
    ["/api", "The API of Starling"],
  ]) {
    await page.goto(starling.url + path);
    assert.equal(await page.locator("h1").textContent(), title);
    const borders = () => page.evaluate(() => getComputedStyle(document.querySelector("table")).borderCollapse);
    assert.equal(await borders(), "collapse", "its style counts");
    assert.deepEqual(await violations(page), [], `axe on ${path}`);
    await page.setViewportSize({ width: 390, height: 844 });
    assert.ok(await fitsInWidth(page), `${path} scrolls sideways`);
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.screenshot({ path: `${screenshots}/paper-${title.split(" ")[0]}.png`, fullPage: true });
  }
  assert.deepEqual(refused, []);
  const established = report.states.find((is) => is.state === "established").sockets;
  assert.equal(report.ports.reduce((sum, is) => sum + is.established, 0), established, "ports and the rest are all of them");
  assert.ok(report.ports.some((is) => is.port !== "_other"), JSON.stringify(report.ports));
  const lines = (await (await fetch(`${starling.url}/api/v1/connections/report?format=csv`)).text()).split("\r\n");
  assert.match(lines[0], /^timestamp,of,part,name,sockets,/);
  assert.ok(lines.some((line) => /,all nodes,states,time_wait,\d+,/.test(line)), lines.slice(0, 5).join("\n"));
  await context.close();

  const { page: overview, context: second, faults } = await openPage(browser, starling.url);
  await overview.locator("section.p", { hasText: "Connection health" }).locator("button", { hasText: "View details" }).click();
  const coming = overview.waitForEvent("download");
  await overview.locator("dialog[open] a", { hasText: "Export CSV" }).click();
  assert.equal((await coming).suggestedFilename(), "starling-connections.csv");
  assert.deepEqual(faults, []);
  await second.close();
});

test("a server that dies is reported, and its return fills the page again", async () => {
  const own = await startStarling();
  const { page, context } = await openPage(browser, own.url);
  await eventually("numbers are there", async () => hasDigits((await cards(page)).CPU));
  own.child.kill("SIGSTOP");
  await says(page, "Stale");
  await page.screenshot({ path: `${screenshots}/lost-1440-dark.png` });
  own.child.kill("SIGCONT");
  await says(page, "Live");
  await own.stop();
  await eventually("a banner says what happens next", () =>
    page.evaluate(() => /Reconnecting/.test(document.querySelector(".banner")?.textContent ?? "")));
  await context.close();
});

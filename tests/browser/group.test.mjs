// The overview of a group: every row of the overview of the cluster, of the nodes with one label alone.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  cards, eventually, fitsInWidth, hasDigits, LOOKS, openPage, screenshots, startBrowser, startStarling, violations,
} from "./harness.mjs";

let starling;
let browser;
before(async () => {
  [starling, browser] = await Promise.all([startStarling("--aggregators", "2", "--nodes", "8"), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await starling?.stop();
});

/** What the server answers. */
const answer = async (path) => (await fetch(`${starling.url}${path}`)).json();

/** A group that is not all of the fleet, and how many nodes it has. */
async function aGroup() {
  return eventually("a label is not on all nodes", async () => {
    const { nodes = [] } = await answer("/api/v1/nodes");
    const zones = nodes.map((is) => is.labels.zone).filter(Boolean);
    const zone = zones.find((is) => zones.filter((other) => other === is).length < nodes.length);
    return nodes.length === 8 && zone && { group: `zone:${zone}`, size: zones.filter((is) => is === zone).length };
  });
}

for (const look of LOOKS) {
  test(`a group has every row of the overview, ${look.theme}, ${look.width} wide`, async () => {
    const { group, size } = await aGroup();
    const { page, context, faults } = await openPage(browser, starling.url, look);
    const choice = page.locator("select[aria-label='Overview of']");
    await eventually("groups are offered", async () => (await choice.locator("option").allTextContents()).includes(group));
    await choice.selectOption(group);
    assert.match(page.url(), new RegExp(`group=${encodeURIComponent(group)}`));
    const verdict = page.locator(`section[aria-label='State of ${group}']`);
    await eventually("the group is judged", async () => /\w/.test((await verdict.textContent()) ?? ""));
    await eventually("every card has a number", async () => {
      const now = await cards(page);
      return ["Requests", "CPU", "Memory", "Connections"].every((label) => hasDigits(now[label])) && now;
    });
    // Its own figures, not those of the cluster.
    await eventually("its nodes alone are counted", async () => (await page.locator(".tally").textContent()) === `${size} reporting`);
    const { totalBytes } = await answer(`/api/v1/system/memory?group=${encodeURIComponent(group)}`);
    const all = await answer("/api/v1/system/memory");
    assert.ok(totalBytes < all.totalBytes, `${totalBytes} of ${all.totalBytes}`);
    await eventually("memory is that of the group", async () => {
      const note = await page.locator("section.p", { has: page.locator("h2", { hasText: "Memory" }) }).first().textContent();
      return note.includes(`over ${size} node`) && note;
    });
    const titles = await page.locator(".grid section.p h2").allTextContents();
    for (const title of [
      "Request timeline", "Latency distribution", "Hosts", "Performance alerts", "Performance heatmap", "Protocols", "CPU", "Memory",
      "Connection health", "Historical analysis",
    ]) {
      assert.ok(titles.some((is) => is.startsWith(title)), `${title} is not among ${titles.join(", ")}`);
    }
    // What is asked over time is asked of the group.
    const asked = [];
    page.on("request", (request) => asked.push(request.url()));
    await page.locator("h2", { hasText: "Historical analysis" }).scrollIntoViewIfNeeded();
    await page.locator("h2", { hasText: "Performance heatmap" }).scrollIntoViewIfNeeded();
    const of = (path) => asked.some((url) => url.includes(path) && url.includes(encodeURIComponent(group)));
    await eventually("both panels ask of the group", async () => of("/heatmap/latency") && of("/historical"));
    await page.locator("section.p", { hasText: "Connection health" }).locator("button", { hasText: "View details" }).click();
    await eventually("details are those of the group", async () =>
      (await page.locator("dialog[open] h2").textContent()) === `Connections of ${group}` && of("/connections/report"));
    await page.locator("dialog[open] button", { hasText: "Close" }).click();
    await page.evaluate(() => window.scrollTo(0, 0));
    assert.deepEqual(await violations(page), []);
    assert.ok(await fitsInWidth(page), "it scrolls sideways");
    await page.screenshot({ path: `${screenshots}/group-${look.width}-${look.theme}.png`, fullPage: true });
    await page.reload();
    await eventually("the address holds it", async () => (await choice.inputValue()) === group);
    await page.goBack();
    await eventually("Back is the whole cluster", async () => (await choice.inputValue()) === "" && (await page.locator(".tally").textContent()) === "8 reporting");
    assert.deepEqual(faults, []);
    await context.close();
  });
}

test("charts of the past are those of the group, and a group that is none says so", async () => {
  const { group } = await aGroup();
  const { page, context } = await openPage(browser, starling.url);
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.goto(`${starling.url}/?range=1h&group=${encodeURIComponent(group)}`);
  const charts = () => asked.filter((url) => url.includes("/api/v1/metrics/charts"));
  await eventually("charts are asked for", async () => charts().length > 0);
  assert.ok(charts().every((url) => url.includes(`group=${encodeURIComponent(group)}`)), charts().join("\n"));
  await page.goto(`${starling.url}/?group=zone:nowhere`);
  await eventually("it is said", async () => /no node is in zone:nowhere, there are zone:a/.test(await page.locator(".verdict").textContent()));
  await context.close();
});

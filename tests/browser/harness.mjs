// What the browser tests are made of: a real `starling up` on free ports, the page's test feeder with invented data, a
// headless Chromium, and what all of them ask of a page.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";

const root = resolve(import.meta.dirname, "../..");
const START_LIMIT_MS = 60_000;

export const DESKTOP = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };
/** Every look of the page: theme and size. */
export const LOOKS = ["dark", "light"].flatMap((theme) => [DESKTOP, PHONE].map((size) => ({ theme, ...size })));

/** Screenshots of the last run, for people. */
export const screenshots = join(root, "target/screenshots");
mkdirSync(screenshots, { recursive: true });

/** Runs a program until `announced` finds what it waits for in its output; ends with an error that holds all output. */
function startProgram(program, args, announced) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  let log = "";
  child.stderr.on("data", (text) => (log += text));
  const ready = new Promise((done, failed) => {
    const fail = (why) => failed(new Error(`${program} ${args.join(" ")}: ${why}\n${said}\n${log}`));
    const timer = setTimeout(() => fail(`nothing announced in ${START_LIMIT_MS} ms`), START_LIMIT_MS);
    child.on("error", (error) => fail(error.message));
    child.on("exit", (code) => fail(`ended with ${code}`));
    child.stdout.on("data", (text) => {
      said += text;
      const found = said.endsWith("\n") ? announced(said) : undefined;
      if (found !== undefined) {
        clearTimeout(timer);
        done(found);
      }
    });
  });
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGTERM");
      await ended;
    }
  };
  return { child, ready, stop, log: () => log };
}

function starlingUp(args) {
  const binary = process.env.STARLING_BINARY ?? join(root, "target/debug/starling");
  return startProgram(binary, ["up", ...args], (said) => {
    const line = said.split("\n").find((l) => l.startsWith("starling listening "));
    return line && Object.fromEntries(line.split(" ").slice(2).map((pair) => pair.split("=")));
  });
}

/** Runs `starling up` with free ports; resolves when it announced its addresses. */
export async function startStarling(...args) {
  const state = mkdtempSync(join(tmpdir(), "starling-browser-"));
  const program = starlingUp(["--free-ports", "--state", state, ...args]);
  const addresses = await program.ready;
  return {
    url: `http://${addresses.http}`,
    addresses,
    child: program.child,
    log: program.log,
    async stop() {
      await program.stop();
      rmSync(state, { recursive: true, force: true });
    },
  };
}

/** Ports that nobody listens on, below those that the system gives to connections. */
export async function freePorts(count) {
  const free = [];
  for (let port = 20_000 + (process.pid % 250) * 40; free.length < count; port++) {
    const isFree = await new Promise((done) => {
      const server = createServer();
      server.once("error", () => done(false));
      server.listen(port, "127.0.0.1", () => server.close(() => done(true)));
    });
    // One after the other: aggregators take theirs in a row.
    if (isFree) free.push(port);
    else free.length = 0;
  }
  return free;
}

/** Runs `starling up` at ports of its own, where it can be killed and started again. */
export async function startRestartable(...args) {
  const state = mkdtempSync(join(tmpdir(), "starling-browser-"));
  const ports = await freePorts(40);
  const at = (i) => `127.0.0.1:${ports[i]}`;
  const all = [
    "--state", state, "--grpc-port", `${ports[0]}`, "--listen", at(35), "--otlp-listen", at(36),
    "--node-admin-port", `${ports[37]}`, "--set", `node.otlp_http_listen=${at(38)}`, ...args,
  ];
  let program = starlingUp(all);
  await program.ready;
  return {
    url: `http://${at(35)}`,
    /** Where its daemon takes OTLP by HTTP. */
    otlpHttp: at(38),
    /** Without a chance to say anything. */
    async kill() {
      const ended = new Promise((done) => program.child.once("exit", done));
      program.child.kill("SIGKILL");
      await ended;
    },
    async startAgain() {
      program = starlingUp(all);
      await program.ready;
    },
    async stop() {
      await program.stop();
      rmSync(state, { recursive: true, force: true });
    },
  };
}

/**
 * Runs the page's test feeder: INVENTED data, for what a real cluster on one machine does not have (hundreds of hosts, 15
 * minutes of history at once) or does not do on command. `command` cuts, silences, restores or restarts it.
 */
export async function startFeeder(...args) {
  const feeder = join(root, "dashboard/ui/test/feeder/feeder.mjs");
  const program = startProgram(process.execPath, [feeder, "--port", "0", ...args], (said) => /http:\S+/.exec(said)?.[0]);
  const url = await program.ready;
  const command = async (what) => {
    const answer = await fetch(`${url}/feeder/${what}`, { method: "POST" });
    await answer.text();
  };
  return { url, command, stop: program.stop };
}

/** The browser named by CHROMIUM, or the system's, without its background traffic. */
export function startBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      // Names of the tests, which no server of names knows.
      "--host-resolver-rules=MAP *.example.org 127.0.0.1",
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
}

/** A page that collects what must not happen: console errors and warnings, exceptions, failed requests. */
export async function openPage(browser, url, { width, height, theme = "dark" } = DESKTOP) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: theme,
    timezoneId: "UTC",
    hasTouch: width < 720,
  });
  const page = await context.newPage();
  const faults = [];
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && faults.push(`console: ${m.text()}`));
  page.on("pageerror", (error) => faults.push(`exception: ${error.message}`));
  // Aborted is what the page itself left, as when it goes elsewhere while its icon is on the way.
  page.on("requestfailed", (request) => {
    const error = request.failure()?.errorText;
    if (error !== "net::ERR_ABORTED") faults.push(`request failed: ${request.url()}: ${error}`);
  });
  await page.goto(url);
  await page.waitForSelector(".kpi .v, table.nodes, .empty-page, .live");
  return { page, context, faults };
}

/** Opens an address and uses the page; fails on anything that must not happen meanwhile. */
export async function onPage(browser, url, use, size) {
  const { page, context, faults } = await openPage(browser, url, size);
  await use(page);
  assert.deepEqual(faults, [], url);
  await context.close();
}

/** Waits until `look` gives something truthy; says what was seen last. */
export async function eventually(what, look, limitMs = 30_000) {
  const start = Date.now();
  let seen;
  while (Date.now() - start < limitMs) {
    seen = await look();
    if (seen) {
      return seen;
    }
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`waited ${limitMs} ms until ${what}; last seen: ${JSON.stringify(seen)}`);
}

/** Waits until `read` gives what `good` accepts; says what was read last. */
export async function until(what, read, good, limitMs = 30_000) {
  let seen;
  try {
    await eventually(what, async () => good((seen = await read())), limitMs);
  } catch {
    throw new Error(`waited ${limitMs} ms until ${what}; last read: ${JSON.stringify(seen)}`);
  }
  return seen;
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe finds in the page (WCAG 2.2 AA and good practice), a line each. */
export async function violations(page) {
  // Evaluated by the debugger, so the page's own policy stays as strict as in use.
  await page.evaluate(axe);
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const result = await page.evaluate((runOnly) => window.axe.run(document, { runOnly }), tags);
  return result.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`);
}

/** True when the page does not scroll sideways. */
export const fitsInWidth = (page) => page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);

/** Text of the first element, null when there is none. */
export const textOf = (page, selector) => page.locator(selector).first().textContent({ timeout: 5000 }).catch(() => null);

/** Label -> text of the summary cards. */
export const cards = (page) =>
  page.$$eval(".kpi", (all) => Object.fromEntries(all.map((k) => [k.querySelector("h2").textContent, k.querySelector(".v").textContent])));

/** Waits until the pill beside the clock says `word`: Live, Paused, Stale, ... */
export const says = (page, word) =>
  until(`the pill says ${word}`, () => textOf(page, ".live > span"), (text) => text?.startsWith(word));

export const hasDigits = (text) => /\d/.test(text ?? "");

// Starts the all-in-one program on free ports and a headless Chromium. Both end with the test.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";

const root = resolve(import.meta.dirname, "../..");
const START_LIMIT_MS = 60_000;

/** Screenshots of the last run, for people. */
export const screenshots = join(root, "target/screenshots");
mkdirSync(screenshots, { recursive: true });

/** Runs `starling up` with free ports; resolves when it announced its addresses. */
export async function startStarling(...args) {
  const state = mkdtempSync(join(tmpdir(), "starling-browser-"));
  const program = process.env.STARLING_BINARY ?? join(root, "target/debug/starling");
  const child = spawn(program, ["up", "--free-ports", "--state", state, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  let log = "";
  child.stderr.on("data", (text) => (log += text));
  const addresses = await new Promise((announced, failed) => {
    const timer = setTimeout(() => failed(new Error(`no announcement:\n${said}\n${log}`)), START_LIMIT_MS);
    child.on("error", failed);
    child.on("exit", (code) => failed(new Error(`ended with ${code}:\n${said}\n${log}`)));
    child.stdout.on("data", (text) => {
      said += text;
      const line = said.split("\n").find((l) => l.startsWith("starling listening "));
      if (line !== undefined && said.endsWith("\n")) {
        clearTimeout(timer);
        announced(Object.fromEntries(line.split(" ").slice(2).map((pair) => pair.split("="))));
      }
    });
  });
  return {
    url: `http://${addresses.http}`,
    addresses,
    child,
    log: () => log,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        const ended = new Promise((done) => child.once("exit", done));
        child.kill("SIGTERM");
        await ended;
      }
      rmSync(state, { recursive: true, force: true });
    },
  };
}

/** A headless Chromium without its background traffic. */
export function startBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
}

/** A page that collects what must not happen: console errors, exceptions, failed requests. */
export async function openPage(browser, url, { width = 1440, height = 900, theme = "dark" } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme });
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => message.type() === "error" && faults.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => faults.push(`exception: ${error.message}`));
  page.on("requestfailed", (request) => faults.push(`request failed: ${request.url()}`));
  await page.goto(url);
  return { page, context, faults };
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

// Starts the test feeder and the system's Chromium for the browser scripts.
import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const feeder = join(dirname(fileURLToPath(import.meta.url)), "..", "feeder", "feeder.mjs");

/** Starts a feeder on a free port; resolves with its address and a function that stops it. */
export function startFeeder(...args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [feeder, "--port", "0", ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    child.on("exit", (code) => reject(new Error(`feeder ended with ${code}`)));
    child.stdout.on("data", (chunk) => {
      const url = /http:\S+/.exec(String(chunk))?.[0];
      if (url) resolve({ url, stop: () => child.kill() });
    });
  });
}

/** The browser named by CHROMIUM, or the system's. */
export function startBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Tells a feeder to do something. */
export const tell = (url, what) => fetch(`${url}/feeder/${what}`, { method: "POST" });

/** Opens a page and collects what goes wrong in it. */
export async function open(browser, url, { width, height, theme }) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: theme,
    timezoneId: "UTC",
    hasTouch: width < 720,
  });
  const page = await context.newPage();
  const problems = [];
  page.on("console", (m) => {
    if (m.type() === "error" || m.type() === "warning") problems.push(m.text());
  });
  page.on("pageerror", (e) => problems.push(String(e)));
  await page.goto(url);
  await page.waitForSelector(".kpi .v, table.nodes, .empty-page");
  return { page, problems, close: () => context.close() };
}

// Takes pictures of the page fed by the test feeder: node test/browser/shots.mjs FOLDER
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { open, startBrowser, startFeeder, tell } from "./browser.mjs";

const folder = process.argv[2];
if (!folder) throw new Error("usage: shots.mjs FOLDER");
mkdirSync(folder, { recursive: true });

const feeder = await startFeeder("--nodes", "248");
const small = await startFeeder("--nodes", "1", "--seconds", "45");
const none = await startFeeder("--empty");
const browser = await startBrowser();
const SIZES = [
  ["desktop", 1440, 900],
  ["mobile", 390, 844],
];
const shoot = async (name, url, size, theme, before, full = true) => {
  const { page, problems, close } = await open(browser, url, { width: size[1], height: size[2], theme });
  await page.waitForTimeout(1500);
  await before?.(page);
  await page.screenshot({ path: join(folder, `${name}-${size[0]}-${theme}.png`), fullPage: full });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (wide > 0) problems.push(`page is ${wide} px wider than the window`);
  if (problems.length > 0) console.log(name, size[0], theme, problems);
  await close();
};
try {
  for (const theme of ["dark", "light"]) {
    for (const size of SIZES) {
      await shoot("overview", `${feeder.url}/`, size, theme);
      await shoot("node", `${feeder.url}/nodes/node-r03-19`, size, theme, (p) => p.mouse.move(600, 400));
      await shoot("nodes", `${feeder.url}/nodes?sort=-cpu`, size, theme, undefined, false);
      await shoot("one-host", `${small.url}/`, size, theme);
    }
  }
  const [desktop] = SIZES;
  await shoot("pinned", `${feeder.url}/nodes/node-r03-19`, desktop, "dark", async (p) => {
    await p.mouse.click(500, 400);
    await p.mouse.move(10, 500);
    await p.waitForTimeout(300);
  });
  await shoot("map-hover", `${feeder.url}/?fill=p99`, desktop, "dark", async (p) => {
    const box = await p.locator(".hm-plot").boundingBox();
    await p.mouse.move(box.x + 480, box.y + 60);
    await p.waitForTimeout(300);
  });
  await shoot("cluster", `${feeder.url}/cluster`, desktop, "dark");
  await shoot("empty", `${none.url}/`, desktop, "dark");
  await shoot("missing-node", `${feeder.url}/nodes/nobody`, desktop, "dark");
  for (const size of SIZES) {
    await shoot(
      "lost",
      `${feeder.url}/`,
      size,
      "dark",
      async (p) => {
        await tell(feeder.url, "cut");
        await p.waitForTimeout(14_000);
        await tell(feeder.url, "restore");
      },
      false,
    );
  }
} finally {
  await browser.close();
  for (const f of [feeder, small, none]) f.stop();
}

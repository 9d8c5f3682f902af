// Takes pictures of the page on INVENTED data, for people who work on it: npm run shots -- FOLDER
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DESKTOP, fitsInWidth, openPage, PHONE, startBrowser, startFeeder } from "./harness.mjs";

const folder = process.argv[2];
if (!folder) throw new Error("usage: shots.mjs FOLDER");
mkdirSync(folder, { recursive: true });

const feeder = await startFeeder("--nodes", "248");
const small = await startFeeder("--nodes", "1", "--seconds", "45");
const none = await startFeeder("--empty");
const browser = await startBrowser();
const SIZES = [
  ["desktop", DESKTOP],
  ["mobile", PHONE],
];
const shoot = async (name, url, size, theme, before, full = true) => {
  const { page, faults, context } = await openPage(browser, url, { ...size[1], theme });
  await page.waitForTimeout(1500);
  await before?.(page);
  await page.screenshot({ path: join(folder, `${name}-${size[0]}-${theme}.png`), fullPage: full });
  if (!(await fitsInWidth(page))) faults.push("the page scrolls sideways");
  if (faults.length > 0) console.log(name, size[0], theme, faults);
  await context.close();
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
  await shoot("missing-node", `${feeder.url}/nodes/no-such-node`, desktop, "dark");
  for (const size of SIZES) {
    await shoot(
      "lost",
      `${feeder.url}/`,
      size,
      "dark",
      async (p) => {
        await feeder.command("cut");
        await p.waitForTimeout(14_000);
        await feeder.command("restore");
      },
      false,
    );
  }
} finally {
  await browser.close();
  await Promise.all([feeder, small, none].map((f) => f.stop()));
}

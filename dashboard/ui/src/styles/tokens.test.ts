// @vitest-environment node
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { contrast, luminance, parseHex, pickTheme, rampTable } from "../lib/color";

const css = readFileSync(new URL("./tokens.css", import.meta.url), "utf8");

function tokens(dark: boolean): Map<string, string> {
  const out = new Map<string, string>();
  for (const m of css.matchAll(/--([\w-]+):\s*(light-dark\([^;]+\));/g)) {
    out.set(m[1] as string, pickTheme(m[2] as string, dark));
  }
  return out;
}

describe.each([
  ["dark", true],
  ["light", false],
] as const)("%s tokens", (_, dark) => {
  const all = tokens(dark);
  const color = (name: string) => {
    const v = all.get(name);
    expect(v, name).toMatch(/^#[0-9a-f]{6}$/);
    return parseHex(v as string);
  };
  const on = (a: string, b: string) => contrast(color(a), color(b));

  it.each(["text", "text-2", "text-3", "accent", "ok", "info", "warn", "error", "crit"])(
    "text %s reads on every background (4.5:1)",
    (name) => {
      for (const bg of ["bg", "surface", "surface-2"]) expect(on(name, bg)).toBeGreaterThanOrEqual(4.5);
    },
  );

  it.each(["text", "text-2"])("text %s reads on floating layers (4.5:1)", (name) => {
    for (const bg of ["surface-3", "accent-soft", "warn-soft"])
      expect(on(name, bg)).toBeGreaterThanOrEqual(4.5);
  });

  it.each([
    "c-h1",
    "c-h2",
    "c-h3",
    "c-ws",
    "c-grpc",
    "c-other",
    "ok-f",
    "info-f",
    "warn-f",
    "error-f",
    "crit-f",
    "line-3",
  ])("%s is seen on a panel (3:1)", (name) => expect(on(name, "surface")).toBeGreaterThanOrEqual(3));

  it("the ramp changes in lightness at every step, one way", () => {
    const steps = Array.from({ length: 9 }, (_, i) => luminance(color(`q${i}`)));
    for (let i = 1; i < 9; i++) {
      const [a, b] = [steps[i - 1] as number, steps[i] as number];
      expect(dark ? b > a : b < a).toBe(true);
    }
  });
});

it("interpolates the ramp without losing its ends", () => {
  const table = rampTable([
    [0, 0, 0],
    [100, 200, 50],
  ]);
  expect(table[0]).toBe("rgb(0,0,0)");
  expect(table[64]).toBe("rgb(100,200,50)");
  expect(table[32]).toBe("rgb(50,100,25)");
});

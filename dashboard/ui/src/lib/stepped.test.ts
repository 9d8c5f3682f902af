import { expect, test } from "vitest";
import { Stepped } from "./stepped";

const past = new Stepped(
  600,
  60,
  [0, 60, 0, 30],
  [
    { name: "a", values: [null, 0, null, 5], min: [null, 0, null, 1], max: [null, 0, null, 640] },
    { name: "p99", values: [null, 7, null, 8], min: null, max: null },
  ],
);

test("a second is read from the point that holds it", () => {
  expect(past.get("a", 660)).toBe(0);
  expect(past.get("a", 719)).toBe(0);
  expect(past.get("a", 720)).toBeNaN();
  expect(past.get("none", 660)).toBeNaN();
  expect(past.present(780)).toBe(true);
  expect(past.present(720)).toBe(false);
  expect(past.present(840)).toBe(false);
  expect(past.present(0)).toBe(false);
  expect([past.first(), past.newest]).toEqual([660, 780]);
  expect(new Stepped(600, 60, [0], []).newest).toBe(0);
});

test("a window keeps gaps and goes beyond what there is", () => {
  const out: (number | null)[] = [];
  expect(past.window("a", 540, 900, out)).toBe(true);
  expect(out).toEqual([null, null, 0, null, 5, null, null]);
  expect(past.window("b", 600, 659, out)).toBe(false);
  expect(out).toEqual([null]);
});

test("a peak of one second stays in the extremes", () => {
  expect(past.extremes("a", 600, 839)?.high).toEqual([null, 0, null, 640]);
  expect(past.extremes("p99", 600, 839)).toBeNull();
});

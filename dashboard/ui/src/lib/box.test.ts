import { describe, expect, test } from "vitest";
import { type Box, boxOf, boxParameters, boxText, chance, parseBox, placeOf } from "./box";
import type { Heat } from "./heat";

const heat: Heat = {
  step: 10,
  columns: [0, 1, 2, 3].map((n) => ({ tick: 1_000 + n * 10, seconds: 10, secondsExpected: 10 })),
  rows: [
    { lower: 0, upper: 100 },
    { lower: 100, upper: 200 },
    { lower: 200, upper: null },
  ],
  cells: [[], [], []],
  most: 1,
};

describe("a box", () => {
  test("lies between two cells, in any order, and has no bound at the ends", () => {
    const box = boxOf(heat, { row: 2, column: 2 }, { row: 1, column: 1 }, true);
    expect(box).toEqual({ seconds: { from: 1_010, to: 1_029 }, lower: 100, upper: null });
    const all = boxOf(heat, { row: 0, column: 0 }, { row: 0, column: 0 }, true);
    expect(all).toEqual({ seconds: { from: 1_000, to: 1_009 }, lower: null, upper: 100 });
  });

  test("that reaches the newest column goes along while live", () => {
    const cells = [
      { row: 1, column: 2 },
      { row: 1, column: 3 },
    ] as const;
    expect(boxOf(heat, ...cells, true)?.seconds).toEqual({ last: 20 });
    expect(boxOf(heat, ...cells, false)?.seconds).toEqual({ from: 1_020, to: 1_039 });
  });

  test("is in the address as it was", () => {
    const boxes: Box[] = [
      { seconds: { last: 20 }, lower: 100.5, upper: null },
      { seconds: { from: 5, to: 9 }, lower: null, upper: 2e21 },
    ];
    for (const box of boxes) expect(parseBox(boxText(box))).toEqual(box);
    for (const odd of [null, "", "x", "last0,-", "9-5,-", "1-2,5-5", "1-2,.-", "1-2", "1-2,1e-5"]) {
      expect(parseBox(odd), String(odd)).toBeNull();
    }
  });

  test("is drawn where it is", () => {
    const at = (box: Box) => placeOf(heat, box);
    expect(at({ seconds: { from: 1_010, to: 1_029 }, lower: 100, upper: 200 })).toEqual({
      left: 0.25,
      right: 0.75,
      bottom: 1 / 3,
      top: 2 / 3,
    });
    expect(at({ seconds: { last: 20 }, lower: null, upper: null })).toEqual({
      left: 0.5,
      right: 1,
      bottom: 0,
      top: 1,
    });
    expect(at({ seconds: { from: 1, to: 9 }, lower: null, upper: null })).toBeNull();
  });

  test("is asked about by length while it goes along, else by its seconds", () => {
    const asked = { from: 1_000, to: 1_899 };
    expect(boxParameters({ seconds: { last: 20 }, lower: 1, upper: null }, asked)).toEqual({
      range: "900s",
      boxFrom: "now-20s",
      lower: 1,
      upper: undefined,
    });
    // A box that has left what is shown is asked about all the same.
    expect(boxParameters({ seconds: { from: 990, to: 995 }, lower: null, upper: 2 }, asked)).toEqual({
      from: 990,
      to: 1_899,
      boxFrom: 990,
      boxTo: 995,
      lower: undefined,
      upper: 2,
    });
  });
});

test("chance is said as people say it", () => {
  expect([0, -1, -2.4, -3.99, -12.3, -300].map(chance)).toEqual([
    "likely",
    "1 in 10",
    "1 in 251",
    "1 in 9,772",
    "1 in 10¹²",
    "1 in 10³⁰⁰",
  ]);
  expect(chance(null)).toBe("");
});

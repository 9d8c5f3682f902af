import { expect, it } from "vitest";
import { envelope, polyline, runs, stack, withOwnLine } from "./polyline";

it("finds runs between gaps", () => {
  expect(runs([1, 2, null, 3, null, null])).toEqual([
    [0, 2],
    [3, 4],
  ]);
  expect(runs([])).toEqual([]);
  expect(runs([null])).toEqual([]);
});

it("keeps every point when there is room", () => {
  expect(
    polyline(
      [1, 2, 3],
      0,
      3,
      (i) => i * 10,
      (v) => v,
    ),
  ).toEqual([0, 1, 10, 2, 20, 3]);
});

it("keeps a one-second spike and at most two points per pixel column", () => {
  const values = Array.from({ length: 9000 }, (_, i) => (i === 4321 ? 1000 : i % 7));
  const points = polyline(
    values,
    0,
    9000,
    (i) => i / 30,
    (v) => v,
  );
  expect(points.length / 2).toBeLessThanOrEqual(2 * 300);
  expect(points.filter((_, i) => i % 2 === 1)).toContain(1000);
});

it("draws an envelope through the peaks that ends at the last value", () => {
  const values = [1, 9, 1, 1, 1, 5, 2, 3];
  const p = envelope(
    values,
    0,
    8,
    (i) => i / 2,
    (v) => v,
  );
  expect(p.filter((_, i) => i % 2 === 1)).toEqual([9, 3]);
});

it("stacks and cuts only where all are missing", () => {
  const out: (number | null)[][] = [];
  stack(
    [
      [1, null, null],
      [2, 5, null],
    ],
    out,
  );
  expect(out).toEqual([
    [1, 0, null],
    [3, 5, null],
  ]);
});

it("gives a layer of a stack a line only where it is above zero, and the lowest one everywhere", () => {
  const layers = [
    [null, null, null, null, null],
    [3, 0, 3, 3, 3],
    [0, 0, 0, 4, 0],
    [null, 1, null, null, null],
  ];
  expect(withOwnLine(layers, 1)).toEqual([3, 0, 3, 3, 3]);
  expect(withOwnLine(layers, 2)).toEqual([null, null, 0, 4, 0]);
  expect(withOwnLine(layers, 3)).toEqual([null, 1, null, null, null]);
  expect(withOwnLine(layers, 0)).toEqual([null, null, null, null, null]);
});

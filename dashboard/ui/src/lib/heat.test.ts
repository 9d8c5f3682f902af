import { expect, test } from "vitest";
import { columnFacts, gapsOf, moveCell, readHeat, strength } from "./heat";

const bounds = (n: number) =>
  Array.from({ length: n }, (_, i) => ({ lower: i, upper: i === n - 1 ? null : i + 1 }));
const heat = (values: (number | null)[][]) =>
  readHeat({
    stepSeconds: 60,
    columns: (values[0] ?? []).map((v, i) => ({
      tick: i * 60,
      seconds: v === null ? 0 : 60,
      secondsExpected: 60,
    })),
    rows: bounds(values.length),
    grid: values.map((row) => row.map((value) => ({ value }))),
  });

test("rows beyond all values are left out, but there are always some", () => {
  const many = Array.from({ length: 20 }, (_, i) => [i === 10 ? 5 : 0, i === 17 ? 1 : 0]);
  const { rows, most } = heat(many);
  expect([rows[0]?.lower, rows.at(-1)?.lower, most]).toEqual([10, 17, 5]);
  expect(heat(many.map((row, i) => (i === 19 ? [1, 0] : row.map(() => 0)))).rows.length).toBe(6);
  expect(heat([[0], [0]]).rows.length).toBe(2);
});

test("none is weaker than one, and one is seen beside a million", () => {
  expect(strength(0, 1e6)).toBe(0);
  expect(strength(1, 1e6)).toBeGreaterThan(0.1);
  expect(strength(1e6, 1e6)).toBe(1);
  expect(strength(10, 1e6)).toBeGreaterThan(strength(1, 1e6));
  expect(strength(1, 1)).toBe(1);
  expect(strength(0.5, 60)).toBeGreaterThan(0.1);
});

test("what is not known is a gap, unless it was before the beginning", () => {
  expect(gapsOf(heat([[null, null, 0, null, null, 1, null]]))).toEqual([
    [3, 5],
    [6, 7],
  ]);
  expect(gapsOf(heat([[null, null]]))).toEqual([]);
});

test("keys move within the picture, up is more", () => {
  const size = { rows: 2, columns: 3 };
  expect(moveCell({ row: 0, column: 0 }, "ArrowUp", size)).toEqual({ row: 1, column: 0 });
  expect(moveCell({ row: 1, column: 2 }, "ArrowUp", size)).toEqual({ row: 1, column: 2 });
  expect(moveCell({ row: 1, column: 2 }, "Home", size)).toEqual({ row: 1, column: 0 });
  expect(moveCell({ row: 0, column: 0 }, "a", size)).toBeNull();
});

test("a column in words", () => {
  const facts = heat([[3], [1], [0], [1], [0], [0]]);
  expect(columnFacts(facts, 0)).toEqual({ total: 5, middle: 0, highest: 3 });
  expect(columnFacts(heat([[0], [0]]), 0)).toBeNull();
});

import { expect, it } from "vitest";
import { inRow } from "./minutes";
import { Stepped } from "./stepped";

const column = (
  name: string,
  values: (number | null)[],
  min: (number | null)[] | null = null,
  max = min,
) => ({
  name,
  values,
  min,
  max,
});
const shown = (values: (number | null)[], step = 1, min: (number | null)[] | null = null, max = min) =>
  new Stepped(
    600,
    step,
    values.map((v) => (v === null ? 0 : step)),
    [column("x", values, min, max)],
  );

it("a row has its mean, and the peak of one second", () => {
  expect(inRow(shown([1, 1, 9, 1]), "x", 600, 4, false)).toEqual({ mean: 3, low: 1, high: 9 });
  expect(inRow(shown([1, null, 3, null]), "x", 600, 4, false)).toEqual({ mean: 2, low: 1, high: 3 });
});

it("percentiles are never averaged", () => {
  expect(inRow(shown([5, 9]), "x", 600, 2, true)).toEqual({ mean: null, low: 5, high: 9 });
  expect(inRow(shown([5]), "x", 600, 1, true)).toEqual({ mean: 5, low: 5, high: 5 });
});

it("steps bring their own extremes, and nothing is nothing", () => {
  expect(inRow(shown([4, 6], 60, [1, 2], [7, 99]), "x", 600, 120, false)).toEqual({
    mean: 5,
    low: 1,
    high: 99,
  });
  expect(inRow(shown([null, null]), "x", 600, 2, false)).toEqual({ mean: null, low: null, high: null });
  expect(inRow(shown([1]), "x", 660, 60, false)).toEqual({ mean: null, low: null, high: null });
});

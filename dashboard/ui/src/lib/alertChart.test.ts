import { expect, test } from "vitest";
import { around, ratio } from "./alertChart";

test("an open alert is shown from before it began until now, one that is over until after it", () => {
  expect(around(10_000, null, 10_300)).toEqual({ from: 9_400, to: 10_300 });
  expect(around(10_000, 11_000, 50_000)).toEqual({ from: 9_000, to: 12_000 });
  expect(around(10_000, 11_000, 11_200)).toEqual({ from: 9_000, to: 11_200 });
  expect(around(100_000, null, 900_000).from).toBe(100_000 - 6 * 3_600);
});

test("a value is one series, or one divided by another; what is missing stays missing", () => {
  expect(ratio(3, [[1, null, 3]])).toEqual([1, null, 3]);
  expect(
    ratio(4, [
      [1, 2, 3, 0],
      [10, null, 30, 0],
    ]),
  ).toEqual([0.1, null, 0.1, null]);
  expect(ratio(2, [])).toEqual([null, null]);
});

import { expect, test } from "vitest";
import { refreshEvery } from "./refresh";

test("what takes long is asked less often", () => {
  expect([0, 40, 100, 101, 620, 2_205].map((took) => refreshEvery(1, took))).toEqual([1, 1, 1, 2, 7, 23]);
  expect(refreshEvery(5, 620)).toBe(7);
  expect(refreshEvery(30, 620)).toBe(30);
});

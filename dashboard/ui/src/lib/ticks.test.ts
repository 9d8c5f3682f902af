import { expect, it } from "vitest";
import { axisByteStep, axisBytes } from "./format";
import { niceTicks, ticksAround, timeTicks } from "./ticks";

it("chooses round values that reach the maximum", () => {
  expect(niceTicks(5.6e6, 3)).toEqual([0, 2e6, 4e6, 6e6]);
  expect(niceTicks(97)).toEqual([0, 25, 50, 75, 100]);
  expect(niceTicks(0.3)).toEqual([0, 0.1, 0.2, 0.3]);
  expect(niceTicks(0)).toEqual([0, 0.25, 0.5, 0.75, 1]);
  expect(niceTicks(60 * 1024 ** 3, 4, 1024 ** 3).map((v) => v / 1024 ** 3)).toEqual([0, 20, 40, 60]);
});

it("has labels of at most three digits on every axis of bytes, which fit beside it", () => {
  for (let max = 1; max < 1024 ** 5; max *= 1.013) {
    for (const count of [3, 4]) {
      const labels = niceTicks(max, count, axisByteStep(max)).map(axisBytes);
      for (const label of labels) {
        expect(label.replace(/\D/g, "").length, `${max}: ${labels}`).toBeLessThanOrEqual(3);
      }
    }
  }
});

it("aligns time labels", () => {
  const ticks = timeTicks(1_700_000_010, 1_700_000_910, 6);
  expect(ticks.length).toBeLessThanOrEqual(7);
  expect(ticks.every((t) => t % 60 === 0)).toBe(true);
});

it("goes below 0 where something lies there, in the same steps", () => {
  expect(ticksAround(-3, 9, 4, 1)).toEqual([-5, -2.5, 0, 2.5, 5, 7.5, 10]);
  expect(ticksAround(-0.4, 0, 4, 1)).toEqual([-0.4, -0.3, -0.2, -0.1, 0]);
});

import { expect, it } from "vitest";
import { modesOf } from "./modes";

it("gathers modes", () => {
  const modes = modesOf({
    ratioByMode: { user: 0.25, nice: 0.25, system: 0.125, softirq: 0.125, idle: 0.25 },
  });
  expect(modes).toEqual([
    ["User", 0.5],
    ["System", 0.25],
    ["I/O wait", 0],
    ["Steal", 0],
  ]);
});

it("knows nothing without modes", () => {
  expect(modesOf({ ratioByMode: {} }).map(([, share]) => share)).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
});

import { describe, expect, it } from "vitest";
import { spread } from "./labels";

/** Labels 40 pixels wide that want to be at the given places. */
const at = (...xs: number[]) => xs.map((x) => ({ x, half: 20 }));

describe("spread", () => {
  it("leaves labels where they want to be", () => {
    expect(spread(at(50, 100, 300), 400)).toEqual([50, 100, 300]);
  });

  it("moves what would run over its neighbour", () => {
    expect(spread(at(100, 110), 400)).toEqual([100, 140]);
  });

  it("keeps labels within both edges, and moves their neighbours with them", () => {
    expect(spread(at(2, 30), 400)).toEqual([20, 60]);
    expect(spread(at(370, 398), 400)).toEqual([340, 380]);
    expect(spread(at(399, 399, 399), 400)).toEqual([300, 340, 380]);
  });
});

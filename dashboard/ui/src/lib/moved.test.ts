import { describe, expect, it } from "vitest";
import { points } from "./format";
import { moved, movedPercentile } from "./moved";
import { Rings } from "./rings";

const NEWEST = 1_700_000_000;

function rings(p99OfSeconds: (t: number) => number, merged: (t: number) => number): Rings {
  const r = new Rings();
  const seconds = Array.from({ length: 400 }, (_, i) => NEWEST - 399 + i);
  r.load(
    NEWEST - 399,
    [
      { name: "latency.p99", values: seconds.map(p99OfSeconds) },
      { name: "latency.p99_minute", values: seconds.map(merged) },
      { name: "cpu.total", values: seconds.map((t) => (t > NEWEST - 100 ? 0.3 : 0.25)) },
    ],
    NEWEST,
  );
  return r;
}

describe("the change of a figure", () => {
  it("compares merged percentiles and not their means", () => {
    // Single seconds jump; the merged value went from 4 to 5 ms.
    const jumping = rings(
      (t) => (t % 2 === 0 ? 100 : 90_000),
      (t) => (t > NEWEST - 30 ? 5000 : 4000),
    );
    expect(movedPercentile(jumping, "latency.p99_minute")).toBe("↑ 25%");
  });

  it("says nothing when there was nothing then", () => {
    const young = rings(
      () => 1,
      (t) => (t > NEWEST - 200 ? 5000 : Number.NaN),
    );
    expect(movedPercentile(young, "latency.p99_minute")).toBeNull();
  });

  it("compares shares by points", () => {
    expect(
      moved(
        rings(
          () => 1,
          () => 1,
        ),
        "cpu.total",
        points,
      ),
    ).toBe("↑ 5.0\u202fpp");
  });
});

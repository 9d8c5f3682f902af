import { describe, expect, it } from "vitest";
import { freshness, windowEnd, windowSpan } from "./stale";

describe("freshness", () => {
  it.each([
    [900, 1200, "fresh"],
    [3000, 3000, "fresh"],
    [3001, 3001, "stale"],
    [10_000, 10_000, "stale"],
    [10_001, 10_001, "lost"],
    // Ticks arrive, but always the same old second.
    [100, 60_000, "lost"],
    [100, 4900, "fresh"],
    [100, 5200, "stale"],
  ] as const)("%d ms since arrival, %d ms old", (sinceArrivalMs, dataAgeMs, want) => {
    expect(freshness({ sinceArrivalMs, dataAgeMs, tickMs: 1000 })).toBe(want);
  });

  it("counts in intervals of the server", () => {
    expect(freshness({ sinceArrivalMs: 5000, dataAgeMs: 0, tickMs: 2000 })).toBe("fresh");
    expect(freshness({ sinceArrivalMs: 5000, dataAgeMs: 0, tickMs: 0 })).toBe("stale");
  });
});

describe("windowEnd", () => {
  it("follows data while it is fresh and the clock once it stopped", () => {
    expect(windowEnd(100, 101.8, "fresh")).toBe(100);
    expect(windowEnd(100, 152.4, "lost")).toBe(151);
    expect(windowEnd(100, 90, "lost")).toBe(100);
    expect(windowEnd(0, 152, "lost")).toBe(0);
  });
});

it("windowSpan grows with the data", () => {
  expect(windowSpan(0, 1000)).toBe(900);
  expect(windowSpan(990, 1000)).toBe(60);
  expect(windowSpan(930, 1000)).toBe(80);
  expect(windowSpan(850, 1000)).toBe(160);
  expect(windowSpan(100, 1000)).toBe(900);
});

import { expect, it } from "vitest";
import { bucketText, merged } from "./Histogram";

it("percentiles that read the same are one mark", () => {
  const said = (v: number) => `${Math.round(v)} ms`;
  expect(
    merged(
      [
        ["p50", 1],
        ["p95", 1.2],
        ["p99", 3],
      ],
      said,
    ),
  ).toEqual([
    ["p50, p95", 1],
    ["p99", 3],
  ]);
});

it("a bar says its bounds, its requests and their share", () => {
  expect(bucketText({ bounds: [1000, 2000, 4000], counts: [1, 3] }, 1).replaceAll("\u202f", " ")).toBe(
    "2.00 ms to 4.00 ms: 3 requests, 75.0%",
  );
});

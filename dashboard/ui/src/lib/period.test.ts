import { expect, test } from "vitest";
import { carries, type Period, readGranularity, readPeriod, stepOf, windowOf } from "./period";

const query = (text: string) => new URLSearchParams(text);
const read = (text: string) => readPeriod(query(text)) as Period;

test("the address names a range or its ends; anything else is live", () => {
  expect(readPeriod(query(""))).toBeNull();
  expect(read("range=6h")).toEqual({ name: "6h", seconds: 21_600 });
  expect(read("range=custom&from=1000&to=1999")).toEqual({ name: "custom", seconds: 1_000, to: 1_999 });
  for (const odd of [
    "range=2h",
    "range=toString",
    "range=custom",
    "range=custom&from=9&to=1",
    "range=custom&from=1e99&to=x",
  ])
    expect(readPeriod(query(odd)), odd).toBeNull();
});

test("steps are those of the server, and a granularity is one that the range carries", () => {
  expect(["1h", "6h", "24h", "7d"].map((name) => stepOf(read(`range=${name}`), null))).toEqual([
    1, 20, 60, 300,
  ]);
  expect(carries(read("range=6h"), "second")).toBe(false);
  expect(carries(read("range=1h"), "hour")).toBe(false);
  expect(readGranularity(query("granularity=minute"), read("range=1h"))).toBe("minute");
  expect(readGranularity(query("granularity=second"), read("range=7d"))).toBeNull();
  expect(readGranularity(query("granularity=day"), read("range=7d"))).toBeNull();
  expect(stepOf(read("range=1h"), "minute")).toBe(60);
});

test("a window moves on in whole steps", () => {
  const day = read("range=24h");
  const at = windowOf(day, 60, 1_700_000_070);
  expect(at).toEqual({ from: 1_700_000_040 - 86_400, to: 1_700_000_039, step: 60 });
  expect(windowOf(day, 60, 1_700_000_098)).toEqual(at);
  expect(windowOf(day, 60, 1_700_000_099).to).toBe(1_700_000_099);
  const hour = windowOf(read("range=1h"), 1, 1_700_000_005);
  expect([hour.to - hour.from + 1, hour.to]).toEqual([3_600, 1_699_999_999]);
});

test("a custom window is whole and ends where the data does", () => {
  const part = read("range=custom&from=1000&to=1999");
  expect(windowOf(part, 60, 5_000)).toEqual({ from: 960, to: 2_039, step: 60 });
  expect(windowOf(part, 1, 1_500)).toEqual({ from: 1_000, to: 1_499, step: 1 });
  expect(windowOf(part, 1, 500)).toEqual({ from: 1_000, to: 1_000, step: 1 });
});

import { describe, expect, it } from "vitest";
import { type Analysis, movedTo, times } from "./analysis";
import { parametersOf, readQuestion } from "./historyQuestion";
import { byName } from "./listed";

const listed = byName([
  { name: "system.cpu.time", attributes: { "cpu.mode": "user" }, kind: "counter", unit: "s" },
  { name: "app.duration", attributes: {}, kind: "histogram", unit: "s" },
  { name: "app.bytes", attributes: {}, kind: "counter", unit: "By" },
]);
const read = (search: string) =>
  readQuestion(new URLSearchParams(search), (name) => listed.find((is) => is.name === name));

describe("what History is asked for", () => {
  it("is a metric with a short name, else latency", () => {
    expect(read("")).toMatchObject({ label: "Latency p99", written: "micros", factor: 1, whose: "" });
    expect(read("metric=cpu&of=node:web-1")).toMatchObject({
      label: "CPU",
      written: "share",
      whose: "node:web-1",
    });
    expect(read("metric=promql+up&of=somebody").series.name).toBe("latency");
    expect(read("of=node:").whose).toBe("");
  });
  it("is a series in its own unit: the server answers all times in microseconds", () => {
    expect(read("metric=app.bytes")).toMatchObject({ written: "bytesPerSecond", factor: 1 });
    expect(read("metric=system.cpu.time")).toMatchObject({ written: "number", factor: 1e-6 });
    expect(read("metric=app.duration")).toMatchObject({
      label: "p99 of app.duration",
      written: "micros",
      factor: 1,
    });
  });
  it("is asked of the server by name, statistic, attributes and scope", () => {
    const search = new URLSearchParams({ metric: 'system.cpu.time{cpu.mode="a b"}', of: "group:zone:a" });
    expect(parametersOf(read(search.toString()))).toEqual({
      metric: "system.cpu.time",
      statistic: "",
      "attribute.cpu.mode": "a b",
      group: "zone:a",
    });
  });
});

it("the period before is laid over the points of now, and what is missing stays missing", () => {
  const at = (tick: number, value: number | null) => ({ tick, value, min: null, max: null });
  const earlier = { stepSeconds: 10, timeSeries: [at(5, 1), at(10, 2), at(20, null)] };
  expect(movedTo([at(105, 9), at(110, 9), at(120, 9), at(130, 9)], earlier, 100)).toEqual([1, 2, null, null]);
});

it("another unit changes every figure but no time and no ratio", () => {
  const compared = { average: 4, changeRatio: 0.5, countedIn: "" };
  const answer = {
    average: 2,
    peak: 3,
    low: null,
    standardDeviation: 1,
    peakAt: "x",
    timeSeries: [{ tick: 7, value: 1, min: 0, max: null }],
    comparisons: { periodBefore: compared, weekAgo: null },
  } as unknown as Analysis;
  expect(times(answer, 10)).toMatchObject({
    average: 20,
    peak: 30,
    low: null,
    standardDeviation: 10,
    peakAt: "x",
    timeSeries: [{ tick: 7, value: 10, min: 0, max: null }],
    comparisons: { periodBefore: { average: 40, changeRatio: 0.5 }, weekAgo: null },
  });
});

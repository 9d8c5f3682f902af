import { describe, expect, it } from "vitest";
import { csv } from "./csv";
import { axisOf, labelsOf, placeOf, readLine, readLines, writeLine } from "./explore";
import { byName, matching } from "./listed";

const line = (text: string) => {
  const read = readLine(text);
  if (read === null) throw new Error(`no line: ${text}`);
  return read;
};

describe("a line in the address", () => {
  it("is read as it was written, whatever stands in it", () => {
    for (const text of [
      "system.cpu.busy",
      'p99 of traffic.duration{protocol="grpc"}',
      'system.network.io{network.io.direction="receive"} on node:web-1',
      "system.cpu.busy on each",
      'app.x{a="c++, \\"50%\\" } on node:x",b="a\\\\b"} on group:zone:eu west',
      'promql sum(rate(up{job=~".+"}[5m])) + 1',
    ])
      expect(writeLine(line(text))).toBe(text);
    expect(line('app.x{a="} on node:x"} on group:zone:a')).toMatchObject({
      attributes: { a: "} on node:x" },
      whose: "group:zone:a",
    });
  });

  it("that is none is left out", () => {
    for (const text of ["", "a b", 'a{b="c}', "a{b=c}", "a on", "a on nothing:x"])
      expect(readLine(text)).toBeNull();
    expect(readLines(new URLSearchParams("s=a+b&s=c&s=promql+1%2B2"))).toEqual([
      { kind: "series", name: "c", attributes: {}, statistic: "", whose: "" },
      { kind: "promql", query: "1+2" },
    ]);
  });
});

describe("search", () => {
  const names = byName([
    { name: "b.cpu", attributes: { mode: "user" }, kind: "gauge", unit: "1" },
    { name: "b.cpu", attributes: { mode: "idle" }, kind: "gauge", unit: "1" },
    { name: "cpu.time", attributes: {}, kind: "counter", unit: "s" },
    { name: "memory", attributes: { "a(b": "x[y" }, kind: "gauge", unit: "By" },
  ]);
  const found = (text: string) => matching(names, text).map((is) => is.name);
  it("takes every sign as it is, and the beginning of a name first", () => {
    expect(found("cpu")).toEqual(["cpu.time", "b.cpu"]);
    expect(found("cpu idle")).toEqual(["b.cpu"]);
    expect(found("a(b")).toEqual(["memory"]);
    expect(found("(((a+)+")).toEqual([]);
    expect(found("")).toEqual(["b.cpu", "cpu.time", "memory"]);
  });
  it("knows the values of each attribute", () => {
    expect(names[0]?.attributes.get("mode")).toEqual(["user", "idle"]);
    expect(names[0]?.count).toBe(2);
  });
});

describe("an axis", () => {
  it("is of one unit", () => {
    expect(axisOf("By", "counter", "mean", "system.network.io")).toMatchObject({
      key: "bytes per second",
      unit: "By/s",
    });
    expect(axisOf("By", "gauge", "mean", "system.memory.usage")).toMatchObject({ key: "bytes" });
    expect(axisOf("s", "histogram", "p99", "traffic.duration")).toMatchObject({
      written: "micros",
      factor: 1e6,
    });
    expect(axisOf("s", "counter", "mean", "system.cpu.time")).toMatchObject({ words: "seconds in a second" });
    expect(axisOf("1", "gauge", "mean", "system.cpu.busy").written).toBe("share");
    expect(axisOf("1", "gauge", "mean", "system.load_average.1m").written).toBe("number");
    expect(axisOf("{request}", "counter", "mean", "traffic.requests").words).toBe("request per second");
    expect(axisOf("s", "histogram", "count", "traffic.duration").key).toBe("count");
  });
});

it("labels say what tells series apart, and a single one its name", () => {
  const io = (attributes: Record<string, string>, whose = "") => ({
    name: "io",
    statistic: "mean",
    attributes,
    whose,
  });
  expect(labelsOf([io({ d: "in", k: "x" }), io({ d: "out", k: "x" })])).toEqual(["in", "out"]);
  expect(labelsOf([io({}), io({}, "web-1")])).toEqual(["cluster", "web-1"]);
  expect(labelsOf([io({ d: "in" })])).toEqual(["mean of io"]);
});

it("a file is for programs: RFC 3339, a dot, no unit in a cell, nothing for no data", () => {
  const columns = [
    { head: 'a "b", c', values: [1234.5678, null] },
    { head: "=cmd()", values: [0.000001, Number.NaN] },
  ];
  expect(csv([1_700_000_000, 1_700_000_001], columns)).toBe(
    'time,"a ""b"", c",\'=cmd()\r\n2023-11-14T22:13:20.000Z,1234.5678,0.000001\r\n2023-11-14T22:13:21.000Z,,\r\n',
  );
});

it("a mistake has its place", () => {
  expect(placeOf('1:4: parse error: "(" is never closed')).toEqual({ line: 1, column: 4 });
  expect(placeOf("the aggregator failed")).toBeNull();
});

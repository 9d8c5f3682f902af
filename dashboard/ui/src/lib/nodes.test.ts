import { describe, expect, it } from "vitest";
import {
  formatSort,
  labelTerm,
  type NodeRow,
  parseFilter,
  parseSort,
  readFilter,
  sortedIndexes,
} from "./nodes";

const row = (id: string, more: Partial<NodeRow> = {}): NodeRow => ({
  id,
  labels: { zone: "a", rack: "r1", "cost center": "web shop" },
  simulated: false,
  state: "reporting",
  silentSeconds: 0,
  note: "",
  clash: false,
  cpu: 0.5,
  memory: 0.5,
  requests: 10,
  errors: 0,
  p99: 2000,
  load: 1,
  connections: 5,
  cores: 8,
  aggregator: "agg-1",
  ...more,
});

describe("sorting", () => {
  const rows = [row("n10", { cpu: 0.2 }), row("n2", { cpu: Number.NaN }), row("n1", { cpu: 0.9 })];
  const ids = (s: string) => sortedIndexes(rows, parseSort(s)).map((i) => rows[i]?.id);
  it("orders names as people do", () => expect(ids("")).toEqual(["n1", "n2", "n10"]));
  it("keeps missing values last both ways", () => {
    expect(ids("cpu")).toEqual(["n10", "n1", "n2"]);
    expect(ids("-cpu")).toEqual(["n1", "n10", "n2"]);
  });
  it("takes any label, missing ones last", () => {
    const rows = [
      row("n1", { labels: { tier: "b" } }),
      row("n2", { labels: {} }),
      row("n3", { labels: { tier: "a" } }),
    ];
    const order = (s: string) => sortedIndexes(rows, parseSort(s)).map((i) => rows[i]?.id);
    expect(order("label:tier")).toEqual(["n3", "n1", "n2"]);
    expect(order("-label:tier")).toEqual(["n1", "n3", "n2"]);
    expect(formatSort(parseSort("-label:tier"))).toBe("-label:tier");
  });
  it("survives the address", () => {
    expect(formatSort(parseSort("-p99"))).toBe("-p99");
    expect(formatSort(parseSort("nonsense"))).toBeNull();
  });
});

describe("filter", () => {
  const match = (q: string, r: NodeRow) => parseFilter(q)(r);
  it("matches everything when empty", () => expect(match("  ", row("x"))).toBe(true));
  it("matches names and words", () => {
    expect(match("r07", row("node-r07-12"))).toBe(true);
    expect(match("zone:b", row("x"))).toBe(false);
    expect(match("zone:A state:reporting", row("x"))).toBe(true);
    expect(match("state:silent", row("x", { state: "silent" }))).toBe(true);
  });
  it("matches any label, with quotes where there are spaces", () => {
    expect(match("rack:r1", row("x"))).toBe(true);
    expect(match("rack:r", row("x"))).toBe(false);
    expect(match(labelTerm("cost center", "web shop"), row("x"))).toBe(true);
    expect(match(labelTerm("cost center", "web"), row("x"))).toBe(false);
    expect(match(`${labelTerm("cost center", "web shop")} zone:b`, row("x"))).toBe(false);
  });
  it("compares with units", () => {
    expect(match("p99>1ms", row("x"))).toBe(true);
    expect(match("p99>3", row("x"))).toBe(false);
    expect(match("cpu>40%", row("x"))).toBe(true);
    expect(match("cpu>60", row("x"))).toBe(false);
    expect(match("requests<1k", row("x"))).toBe(true);
    expect(match("cpu>10", row("x", { cpu: Number.NaN }))).toBe(false);
  });
  it("takes spaces around a sign, equals, and minus for the opposite", () => {
    expect(match("cpu > 40%", row("x"))).toBe(true);
    expect(match("cpu >= 50% cpu<=50%", row("x"))).toBe(true);
    expect(match("zone=a", row("x"))).toBe(true);
    expect(match("zone!=a", row("x"))).toBe(false);
    expect(match("-zone:a", row("x"))).toBe(false);
    expect(match("-zone:b -web", row("x"))).toBe(true);
    expect(match('"cost center:web shop"', row("x"))).toBe(true);
  });
  it("says what it does not understand, and filters by the rest", () => {
    expect(readFilter("cpu>abc web").problem).toBe("cpu>abc wants a number, such as cpu>80%");
    expect(readFilter("cpu>abc web").match(row("db-1"))).toBe(false);
    expect(readFilter("zone>3").problem).toMatch(/no number that nodes have: there are cpu/);
    expect(readFilter("cpu> zone:a p99").problem).not.toBeNull();
    expect(readFilter('zone:a "').problem).toBeNull();
  });
  it("takes words that every object knows for labels like others", () => {
    for (const key of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
      expect(match(`${key}:x`, row("x"))).toBe(false);
      expect(match(`${key}=x`, row("x"))).toBe(false);
      expect(sortedIndexes([row("a"), row("b")], parseSort(`label:${key}`))).toEqual([0, 1]);
    }
  });
  it("finds every name by itself and, in quotes, only that", () => {
    const names = [
      ..."web.1 webx1 a+b c(1) d[2] e\\f g|h i* j?k ^l$ m-n o:p _u% ЖЗ 1e5 007 NaN null -0 web.10".split(" "),
      "s t",
    ];
    for (const name of names) {
      const only = names.filter((other) => parseFilter(`"${name}"`)(row(other)));
      expect(only, name).toEqual([name]);
      // Typed letter by letter nothing is an error.
      for (let n = 1; n <= name.length; n++) {
        const typed = readFilter(name.slice(0, n));
        if (!name.startsWith("-") && !name.includes(" "))
          expect(typed.match(row(name)), name.slice(0, n)).toBe(true);
      }
    }
    const long = "(((((a+)+)+)+)+$".repeat(600);
    const start = performance.now();
    expect(parseFilter(long)(row("x"))).toBe(false);
    expect(performance.now() - start).toBeLessThan(50);
  });
  it("takes what it does not understand as a name", () =>
    expect(match("foo:bar", row("foo:bar"))).toBe(true));
});

import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { AlertEpisodeSchema, AlertSchema, AlertScope } from "../gen/starling/v1/alerts_pb";
import {
  emptyText,
  families,
  held,
  holds,
  matcherText,
  nodeOf,
  ruleTitle,
  subjectText,
  valueText,
  webAddress,
  written,
} from "./alerts";

describe("an alert in words", () => {
  it("is titled by its rule", () => {
    expect(["cpu-busy", "tcp-retransmits", "my_rule", ""].map(ruleTitle)).toEqual([
      "CPU busy",
      "TCP retransmits",
      "My rule",
      "",
    ]);
  });

  it("names whom it is about", () => {
    const episode = (scope: AlertScope, subject: string) => create(AlertEpisodeSchema, { scope, subject });
    expect(subjectText(episode(AlertScope.CLUSTER, ""))).toBe("cluster");
    expect(subjectText(episode(AlertScope.GROUP, "zone:a"))).toBe("zone:a");
    expect([nodeOf(episode(AlertScope.NODE, "web-1")), nodeOf(episode(AlertScope.GROUP, "zone:a"))]).toEqual([
      "web-1",
      "",
    ]);
  });

  it("says value, limit and worst, each once", () => {
    const alert = (value: string, limit: string, worst: string) =>
      valueText(create(AlertSchema, { valueText: value, limitText: limit, worstText: worst }));
    expect(alert("97 %", "95 %", "99 %")).toEqual({ value: "97 %", rest: ", limit 95 %, worst 99 %" });
    expect(alert("97 %", "95 %", "97 %").rest).toBe(", limit 95 %");
    expect(alert("", "", "")).toEqual({ value: "no value", rest: "" });
  });

  it("says why there is none", () => {
    expect(emptyText({ unavailable: "", rules: 27 })).toBe("No alert is open. 27 rules watched each second.");
    expect(emptyText({ unavailable: "" })).toBe("No alert is open.");
    expect(emptyText({ unavailable: "too old", rules: 1 })).toBe("Alerts are not known: too old.");
  });
});

it("a list that is pointed at keeps its order", () => {
  expect(held(["c", "b", "a", "d"], ["a", "b"], (id) => id)).toEqual(["a", "b", "c", "d"]);
});

it("only the web is followed", () => {
  expect(webAddress("https://wiki.example/run")).toBe("https://wiki.example/run");
  expect(["javascript:alert(1)", "file:///etc", "", "wiki"].map(webAddress)).toEqual([
    null,
    null,
    null,
    null,
  ]);
});

describe("alerts in a table", () => {
  const of = (id: string, parent: string | null) => ({ id, parent });
  const ids = (rows: { alert: { id: string }; under: boolean }[]) =>
    rows.map(({ alert, under }) => (under ? `-${alert.id}` : alert.id));

  it("stand below the one that explains them", () => {
    const rows = families([of("a", "z"), of("z", null), of("b", null), of("c", "z"), of("d", "gone")]);
    expect(ids(rows)).toEqual(["z", "-a", "-c", "b", "d"]);
  });

  it("are all there, whatever is said of parents", () => {
    expect(ids(families([of("a", "b"), of("b", "a"), of("c", "c")])).sort()).toEqual(["a", "b", "c"]);
  });

  it("are found by any of their words", () => {
    const alert = {
      metric: "cpu-busy",
      subject: "web-1",
      severity: "warning",
      state: "firing",
      attributes: {},
      labels: { zone: "a" },
    };
    expect(["", "CPU web", "zone:a warning", "web-2", "cpu disk"].map((text) => holds(alert, text))).toEqual([
      true,
      true,
      true,
      false,
      false,
    ]);
  });

  it("are matched as Alertmanager writes it", () => {
    const text = (regex: boolean, negate: boolean) =>
      matcherText({ key: "node", value: 'w"1', regex, negate });
    expect([text(false, false), text(true, true)]).toEqual(['node="w\\"1"', 'node!~"w\\"1"']);
  });

  it("write values in the unit of their rule", () => {
    expect(written(null, "share")).toBe("–");
    expect([written(0.5, "share"), written(90, "time"), written(3, "number")]).toEqual([
      expect.stringMatching(/^50.*%$/),
      expect.stringMatching(/^1.*m/),
      expect.stringMatching(/^3/),
    ]);
  });
});

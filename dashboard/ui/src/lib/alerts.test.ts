import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { AlertEpisodeSchema, AlertSchema, AlertScope } from "../gen/starling/v1/alerts_pb";
import { emptyText, held, nodeOf, ruleTitle, subjectText, valueText, webAddress } from "./alerts";

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

import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { AlertSchema, AlertScope, AlertSeverity } from "../gen/starling/v1/alerts_pb";
import { cardsOf, nodesOf } from "./breach";

const alert = (rule: string, scope: AlertScope, subject: string, severity: AlertSeverity, limitText = "") =>
  create(AlertSchema, { episode: { rule, scope, subject, severity }, limitText });
const { CLUSTER, NODE } = AlertScope;
const { WARNING, ERROR, CRITICAL, INFO } = AlertSeverity;

const open = [
  alert("errors", CLUSTER, "", WARNING, "1%"),
  alert("cpu-busy", NODE, "web-1", WARNING, "95%"),
  alert("node-slow", NODE, "web-1", CRITICAL, "3"),
  alert("load-high", NODE, "web-1", ERROR, "4"),
  alert("disk-full", NODE, "web-2", WARNING),
  alert("disk-full", NODE, "web-3", INFO),
  alert("my-own-rule", CLUSTER, "", CRITICAL),
];

it("a card is beyond a limit by what is open about it, of the cluster or of a node", () => {
  expect(cardsOf(open, false)).toEqual({ errors: { breach: "warning", limit: "1%" } });
  expect(cardsOf(open.slice(1, 4), true)).toEqual({
    cpu: { breach: "critical", limit: "4" },
    latency: { breach: "critical", limit: "3" },
  });
});

it("a node has the worst of what is open about it", () => {
  expect([...nodesOf(open)]).toEqual([
    ["web-1", "critical"],
    ["web-2", "warning"],
  ]);
});

import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { NodeDetailSchema } from "../gen/starling/live/v1/live_pb";
import { factsOf } from "./NodeHead";

test("a host that was renamed shows beside its node, one that was not does not", () => {
  const host = (hostName: string) =>
    factsOf(create(NodeDetailSchema, { nodeId: "web-1", hostName })).filter(([name]) => name === "Host");
  expect(host("web-9.example")).toEqual([["Host", "web-9.example"]]);
  expect(host("WEB-1")).toEqual([]);
  expect(host("")).toEqual([]);
});

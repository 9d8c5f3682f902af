import { expect, it } from "vitest";
import { CollectorTrouble } from "../gen/starling/v1/cluster_pb";
import { faultText } from "./faults";
import { clock } from "./format";

it("names the collector, what is wrong, since when and why", () => {
  const fault = {
    collector: "memory",
    trouble: CollectorTrouble.FAILED,
    reason: "permission denied",
    sinceUnixS: 60,
  };
  expect(faultText(fault)).toBe(`memory cannot be read since ${clock(60)}: permission denied`);
  expect(faultText({ ...fault, trouble: CollectorTrouble.HANGING, reason: "", sinceUnixS: 0 })).toBe(
    "memory hangs: a read does not return",
  );
  // One of a newer server.
  expect(faultText({ ...fault, trouble: 9 as CollectorTrouble, sinceUnixS: 0 })).toBe(
    "memory is not read as it should be: permission denied",
  );
});

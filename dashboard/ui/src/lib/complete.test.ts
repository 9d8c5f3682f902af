import { expect, it } from "vitest";
import { nodesBehind, noted } from "./complete";

it("says how many nodes are behind a part, when some are not", () => {
  const whole = { nodesReporting: 3, nodesExpected: 3 };
  expect(nodesBehind(undefined)).toBeUndefined();
  expect(nodesBehind(whole)).toBeUndefined();
  expect(nodesBehind({ ...whole, nodesReporting: 2 })).toBe("2 of 3 nodes");
  // A last frame without gauges: all report, and memory lacks one.
  expect(nodesBehind({ ...whole, sections: { memory: 2, cpu: 3 } }, "memory")).toBe("2 of 3 nodes");
  expect(nodesBehind({ ...whole, sections: { memory: 2, cpu: 3 } }, "cpu")).toBeUndefined();
  expect(nodesBehind({ ...whole, sections: { memory: 0 } }, "memory")).toBe("0 of 3 nodes");
  // An aggregator that does not count parts.
  expect(nodesBehind({ ...whole, nodesReporting: 2 }, "memory")).toBe("2 of 3 nodes");
  expect(noted("bit/s", undefined, "", "all nodes")).toBe("bit/s, all nodes");
});

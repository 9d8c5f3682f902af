import { describe, expect, it } from "vitest";
import { type Feed, lackOf } from "./lack";

const good: Feed = { connectedTo: "agg-1", newest: 1_700_000_000, fresh: "fresh", nodesExpected: 3 };

describe("what is lacking", () => {
  it.each<[string, Partial<Feed>, ReturnType<typeof lackOf>]>([
    ["nothing", {}, null],
    [
      "the server's first word",
      { connectedTo: undefined, newest: 0, nodesExpected: undefined },
      "connecting",
    ],
    ["an aggregator", { connectedTo: "", newest: 0, nodesExpected: undefined }, "no-aggregator"],
    ["its first second", { newest: 0, nodesExpected: undefined }, "no-second"],
    ["a node", { nodesExpected: 0 }, "no-node"],
    ["new data", { fresh: "stale" }, "stopped"],
    ["new data, by the loss of the aggregator", { connectedTo: "", fresh: "lost" }, "stopped"],
    ["new data, and nodes before that", { nodesExpected: 0, fresh: "lost" }, "stopped"],
  ])("%s", (_, change, lack) => {
    expect(lackOf({ ...good, ...change })).toBe(lack);
  });
});

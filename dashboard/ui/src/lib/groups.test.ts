import { expect, test } from "vitest";
import { groupAsked, groupsOf, isIn } from "./groups";

const row = (labels: Record<string, string>) => ({ labels });

test("groups are the labels that nodes carry, in the order of people", () => {
  const rows = [row({ zone: "a10", rack: "r:1" }), row({ zone: "a2" }), row({})];
  expect(groupsOf(rows)).toEqual(["rack:r:1", "zone:a2", "zone:a10"]);
});

test("a node is in a group by its own label alone", () => {
  expect(isIn(row({ rack: "r:1" }), "rack:r:1")).toBe(true);
  expect(isIn(row({ zone: "ab" }), "zone:a")).toBe(false);
  expect(isIn(row({}), "constructor:x")).toBe(false);
  expect(isIn(row({}), "")).toBe(true);
});

test("a group may be typed with either sign", () => {
  expect(groupAsked("zone=a")).toBe("zone:a");
  expect(groupAsked("zone:a=b")).toBe("zone:a=b");
  expect(groupAsked(null)).toBe("");
});

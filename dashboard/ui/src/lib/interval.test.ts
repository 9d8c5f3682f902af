import { expect, it } from "vitest";
import { THIN } from "./format";
import { everyText } from "./interval";

it("marks what is reported more seldom than each second", () => {
  expect(everyText(60)).toBe(`reported every 60${THIN}s`);
  expect(everyText(300)).toBe(`reported every 5${THIN}m`);
  expect(everyText(1)).toBeUndefined();
  expect(everyText(undefined)).toBeUndefined();
});

import { expect, it } from "vitest";
import { attemptsText } from "./attempts";

it("says what failed and of how many, apart from what is open", () => {
  expect(attemptsText(undefined)).toBeNull();
  expect(attemptsText({ opened: 12 })).toBeNull();
  expect(attemptsText({ opened: 2010, failed: 1483, reset: 83 })).toBe(
    "Last minute: 1,483 failed of 2,010 tried: 1,400 refused or unanswered, 83 reset when open.",
  );
  expect(attemptsText({ opened: 20, failed: 0, reset: 0 })).toBe("Last minute: none failed of 20 tried.");
  expect(attemptsText({ failed: 3 })).toBe("Last minute: 3 failed.");
  expect(attemptsText({ opened: 20, failed: 3, reset: 5 })).toBe(
    "Last minute: 3 failed of 20 tried: 3 reset when open.",
  );
});

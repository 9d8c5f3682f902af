import { expect, it } from "vitest";
import { copiesText } from "./copies";
import { NONE } from "./format";

const nothing = { restoring: false, spansDone: 0n, spans: 0n, wholeTick: 0 };

it.each([
  [undefined, false, NONE],
  [nothing, false, "being looked through"],
  [nothing, true, "none: the only aggregator"],
  [{ ...nothing, restoring: true }, false, "being restored, –"],
  [{ ...nothing, restoring: true, spansDone: 30n, spans: 120n }, false, "being restored, 25%"],
  // It was whole before the member that is being made up for went.
  [{ restoring: true, spansDone: 60n, spans: 120n, wholeTick: 1_700_000_000 }, false, "being restored, 50%"],
  [{ ...nothing, spansDone: 120n, spans: 120n, wholeTick: 1_700_000_000 }, false, "whole"],
])("%o, alone: %o", (copies, alone, want) => {
  expect(copiesText(copies, alone)).toBe(want);
});

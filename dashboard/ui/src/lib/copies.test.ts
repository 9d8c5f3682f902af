import { expect, it } from "vitest";
import { copiesText } from "./copies";
import { dated } from "./format";

const nothing = { restoring: false, spansDone: 0n, spans: 0n, wholeTick: 0 };

it.each([
  [nothing, "not looked through yet"],
  [{ ...nothing, restoring: true }, "being restored, –"],
  [{ ...nothing, restoring: true, spansDone: 30n, spans: 120n }, "being restored, 25%"],
  // It was whole before the member that is being made up for went.
  [{ restoring: true, spansDone: 60n, spans: 120n, wholeTick: 1_700_000_000 }, "being restored, 50%"],
  [
    { ...nothing, spansDone: 120n, spans: 120n, wholeTick: 1_700_000_000 },
    `whole, as of ${dated(1_700_000_000)}`,
  ],
])("%o", (copies, want) => {
  expect(copiesText(copies)).toBe(want);
});

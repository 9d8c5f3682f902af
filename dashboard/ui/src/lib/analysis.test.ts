import { expect, test } from "vitest";
import { comparedWords, evidenceHref } from "./analysis";
import { micros } from "./format";

test("a comparison says what was and how it changed", () => {
  const of = (average: number | null, changeRatio: number | null) =>
    comparedWords({ average, changeRatio, countedIn: "" }, 10, micros).replaceAll("\u202f", " ");
  expect(of(10_600, 0.042)).toBe("10.6 ms, now 4.2% more");
  expect(of(10_600, -0.5)).toBe("10.6 ms, now 50% less");
  expect(of(10_600, 0)).toBe("10.6 ms, now the same");
  expect(of(0, null)).toBe("0 ms");
  expect(of(null, null)).toBe("no data");
});

test("evidence is shown where it is", () => {
  expect(evidenceHref("/api/v1/series?name=x&from=10&to=20")).toBe("/?range=custom&from=10&to=20");
  expect(evidenceHref("/api/v1/series?node=a%20b&from=10&to=20")).toBe(
    "/nodes/a%20b?range=custom&from=10&to=20",
  );
  expect(evidenceHref("/api/v1/series?name=x")).toBeNull();
});

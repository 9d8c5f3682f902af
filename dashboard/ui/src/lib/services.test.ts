import { expect, test } from "vitest";
import { fewText, restText, routeWords, type Served, serviceWords, statusText } from "./services";

const served = (by: Record<string, number>): Served => ({
  requestsPerSecond: 12.5,
  errorsPerSecond: 0,
  errorRatio: 0,
  requestsPerSecondByStatus: by,
  latency: null,
  nodes: 1,
});

test("names that no application gave are explained, others are not", () => {
  expect(serviceWords("_other")).toContain("beyond");
  expect(serviceWords("unknown_service")).toContain("OTEL_SERVICE_NAME");
  expect(serviceWords("unknown_service:java")).toContain("OTEL_SERVICE_NAME");
  expect(serviceWords("unknown_service_of_mine")).toBeUndefined();
  expect(routeWords("")).toBe("without a route");
  expect(routeWords("_other")).toContain("beyond");
  expect(routeWords("/cart")).toBeUndefined();
});

test("classes of status are shares, those that failed last", () => {
  expect(statusText(served({ "5xx": 10, "2xx": 80, "4xx": 10, "3xx": 0 }))).toBe(
    "2xx 80.0%, 4xx 10.0%, 5xx 10.0%",
  );
  expect(statusText(served({ error: 1, ok: 3 }))).toBe("ok 75.0%, error 25.0%");
  expect(statusText(served({}))).toBe("–");
  expect(statusText(served({ "": 1 }))).toBe("unknown 100%");
});

test("what is not listed is said with its requests", () => {
  expect(restText(0, null, "route")).toBeUndefined();
  expect(restText(3, served({}), "route")).toBe("3 further routes not listed, with 12.5 requests per second");
  expect(restText(1, served({}), "service")).toContain("1 further service not");
});

test("a p99 of a few requests says so", () => {
  expect(fewText({ count: 41 })).toContain("41 requests");
  expect(fewText({ count: 100 })).toBeUndefined();
});

import { expect, test } from "vitest";
import { listensText, withReceiver } from "./receiver";

const usual = { otlpListen: "127.0.0.1:4317", otlpHttpListen: "127.0.0.1:4318", statsdListen: null };

test("an example has the addresses of the daemon it is for", () => {
  const lines = "curl http://127.0.0.1:4318/v1/metrics; ENDPOINT=http://127.0.0.1:4317";
  expect(withReceiver(lines, usual)).toBe(lines);
  const other = { ...usual, otlpListen: "0.0.0.0:5000", otlpHttpListen: "10.0.0.7:6000" };
  expect(withReceiver(lines, other)).toBe(
    "curl http://10.0.0.7:6000/v1/metrics; ENDPOINT=http://127.0.0.1:5000",
  );
  expect(withReceiver(lines, { ...other, otlpHttpListen: null })).toContain("4318");
});

test("loopback, open and off are told apart", () => {
  expect(listensText("web-1", usual)).toMatch(
    /by gRPC at 127\.0\.0\.1:4317, OTLP by HTTP at .*4318\. All of it from programs on web-1/,
  );
  expect(listensText("web-1", { ...usual, otlpListen: "[::]:4317" })).not.toMatch(/loopback/);
  expect(listensText("web-1", { otlpListen: null, otlpHttpListen: null, statsdListen: null })).toMatch(
    /is off/,
  );
});

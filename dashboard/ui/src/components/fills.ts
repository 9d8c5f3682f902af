/** What a cell of the host map can be coloured by, in numbers and in words. */
import { micros, NONE, rate, text, wholePercent } from "../lib/format";
import type { NodeRow } from "../lib/nodes";
import { niceTicks } from "../lib/ticks";

/** What the colour of a cell says. */
export type Fill = "cpu" | "p99" | "requests" | "errors" | "memory";

export const FILLS: readonly (readonly [Fill, string])[] = [
  ["cpu", "CPU"],
  ["p99", "p99"],
  ["requests", "Requests"],
  ["errors", "Errors"],
  ["memory", "Memory"],
];

/** What is said of a node that reports and has no value. */
export const ABSENT: Record<Fill, string> = {
  cpu: "no CPU data",
  p99: "no requests",
  requests: "no requests",
  errors: "no requests",
  memory: "no memory data",
};

/** A value of a fill in words. */
export function fillText(fill: Fill, v: number): string {
  if (Number.isNaN(v)) return NONE;
  if (fill === "cpu" || fill === "memory") return wholePercent(v);
  return text(fill === "p99" ? micros(v) : rate(v));
}

/** Top of the scale: everything for shares, a round value above the largest for the rest. */
export function fillMax(fill: Fill, rows: readonly NodeRow[]): number {
  if (fill === "cpu" || fill === "memory") return 1;
  const most = Math.max(0, ...rows.map((r) => (Number.isNaN(r[fill]) ? 0 : r[fill])));
  const ticks = niceTicks(most, 4);
  return most === 0 ? 1 : (ticks[ticks.length - 1] as number);
}

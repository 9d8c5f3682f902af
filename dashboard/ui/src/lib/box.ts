/** A box on a heatmap: some seconds and a range of values, as the address holds it and as it is asked about. Pure. */
import type { Heat } from "./heat";

export interface Box {
  /** First and last second, or how many of the newest ones: then it goes along with them. */
  seconds: { from: number; to: number } | { last: number };
  /** Smallest value in it; null without a bound. */
  lower: number | null;
  /** Values in it are smaller; null without a bound. */
  upper: number | null;
}

interface Cell {
  row: number;
  column: number;
}

const WRITTEN = /^(?:last(\d{1,9})|(\d{1,10})-(\d{1,10})),([\d.e+]*)-([\d.e+]*)$/;

/** Reads what `boxText` writes; null for anything else. */
export function parseBox(text: string | null): Box | null {
  const found = WRITTEN.exec(text ?? "");
  if (found === null) return null;
  const [, last, from, to] = found;
  const [lower, upper] = [bound(found[4]), bound(found[5])];
  if (Number.isNaN(lower) || Number.isNaN(upper)) return null;
  if (lower !== null && upper !== null && lower >= upper) return null;
  if (last !== undefined) return Number(last) > 0 ? { seconds: { last: Number(last) }, lower, upper } : null;
  const seconds = { from: Number(from), to: Number(to) };
  return seconds.from <= seconds.to ? { seconds, lower, upper } : null;
}

function bound(text: string | undefined): number | null {
  return text === undefined || text === "" ? null : Number(text);
}

/** A box as the address holds it. */
export function boxText({ seconds, lower, upper }: Box): string {
  const when = "last" in seconds ? `last${seconds.last}` : `${seconds.from}-${seconds.to}`;
  return `${when},${lower ?? ""}-${upper ?? ""}`;
}

/**
 * The box between two cells, both in it. At the lowest and at the highest row it has no bound: no value lies beyond them. One that
 * reaches the newest column of what is `live` goes along with it.
 */
export function boxOf({ rows, columns, step }: Heat, a: Cell, b: Cell, live: boolean): Box | null {
  const [left, right] = [Math.min(a.column, b.column), Math.max(a.column, b.column)];
  const [low, high] = [Math.min(a.row, b.row), Math.max(a.row, b.row)];
  const [first, last] = [columns[left], columns[right]];
  const [lowest, highest] = [rows[low], rows[high]];
  if (!first || !last || !lowest || !highest) return null;
  const to = last.tick + step - 1;
  const seconds =
    live && right === columns.length - 1 ? { last: to - first.tick + 1 } : { from: first.tick, to };
  return {
    seconds,
    lower: low === 0 ? null : lowest.lower,
    upper: high === rows.length - 1 ? null : highest.upper,
  };
}

/** Where a box lies on a heatmap: parts of its columns and rows, from the left and from below; null when it is beside it. */
export function placeOf(
  { rows, columns, step }: Heat,
  { seconds, lower, upper }: Box,
): { left: number; right: number; bottom: number; top: number } | null {
  const start = columns[0]?.tick ?? 0;
  const end = (columns.at(-1)?.tick ?? 0) + step;
  const [from, to] = "last" in seconds ? [end - seconds.last, end] : [seconds.from, seconds.to + 1];
  const x = (second: number) => Math.min(1, Math.max(0, (second - start) / Math.max(1, end - start)));
  // A bound between those of a row is drawn at the nearer one.
  const below = lower === null ? 0 : rows.findIndex((row) => row.upper === null || row.upper > lower);
  const above = upper === null ? rows.length : rows.findLastIndex((row) => row.lower < upper) + 1;
  const [left, right] = [x(from), x(to)];
  if (left >= right || below < 0 || above <= below) return null;
  return { left, right, bottom: below / rows.length, top: above / rows.length };
}

/** The parameters of the question. */
export function boxParameters({ seconds, lower, upper }: Box, asked: { from: number; to: number }) {
  const bounds = { lower: lower ?? undefined, upper: upper ?? undefined };
  if ("last" in seconds) {
    // By length: the server knows its newest second, and the question stays the same while time goes on.
    return { range: `${asked.to - asked.from + 1}s`, boxFrom: `now-${seconds.last}s`, ...bounds };
  }
  const whole = { from: Math.min(asked.from, seconds.from), to: Math.max(asked.to, seconds.to) };
  return { ...whole, boxFrom: seconds.from, boxTo: seconds.to, ...bounds };
}

/** What is over-represented in a box, as `/api/v1/differ` answers. */
export interface DifferRow {
  dimension: string;
  key: string | null;
  value: string;
  inside: number | null;
  rest: number | null;
  shareInside: number | null;
  shareRest: number | null;
  lift: number | null;
  log10P: number | null;
  significant: boolean;
}

export interface Differences {
  text: string;
  inside: number | null;
  rest: number | null;
  tested: number;
  stepSeconds: number | null;
  rows: DifferRow[];
}

const DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** How likely chance makes such a share: "1 in 250", "1 in 10¹²". */
export function chance(log10P: number | null): string {
  if (log10P === null) return "";
  if (log10P > -0.302) return "likely";
  const digits = Math.floor(-log10P);
  if (digits < 4) return `1 in ${Math.round(10 ** -log10P).toLocaleString("en")}`;
  const power = [...String(digits)].map((digit) => DIGITS[Number(digit)]).join("");
  return `1 in 10${power}`;
}

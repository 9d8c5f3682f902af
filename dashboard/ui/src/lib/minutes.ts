/** A chart's values in rows of a table: what a row covers is read whole, so that a peak of one second is in it. Pure. */
import type { Shown } from "./shown";

/** What a column was in a row. */
export interface InRow {
  /** Null without data, and where a mean would mean nothing: of percentiles. */
  mean: number | null;
  low: number | null;
  high: number | null;
}

const NOTHING: InRow = { mean: null, low: null, high: null };

/** A column over `every` seconds from `from` on, which is the start of a point. */
export function inRow(shown: Shown, column: string, from: number, every: number, percentile: boolean): InRow {
  const values: (number | null)[] = [];
  const to = Math.min(from + every, shown.end + 1) - 1;
  if (to < from || !shown.window(column, from, to, values)) return NOTHING;
  const both = shown.extremes(column, from, to);
  let [sum, n, low, high] = [0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  values.forEach((v, i) => {
    if (v === null || Number.isNaN(v)) return;
    sum += v;
    n++;
    low = Math.min(low, both?.low[i] ?? v);
    high = Math.max(high, both?.high[i] ?? v);
  });
  if (n === 0) return NOTHING;
  return { mean: percentile && n > 1 ? null : sum / n, low, high };
}

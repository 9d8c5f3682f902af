/** The numbers of the chart of one alert. */

/** What is drawn. */
export interface Points {
  /** First second of each. */
  ticks: number[];
  step: number;
  values: (number | null)[];
}

/** Shown before it began, and after it was over: as long as it lasted, at least and at most so many seconds. */
const MARGIN = [600, 6 * 3_600] as const;

/** The seconds to be shown of what began at `since` and ended at `ended`, or is open at `now`. */
export function around(since: number, ended: number | null, now: number): { from: number; to: number } {
  const end = Math.max(since, ended ?? now);
  const margin = Math.min(MARGIN[1], Math.max(MARGIN[0], end - since));
  return { from: since - margin, to: Math.min(now, ended === null ? now : ended + margin) };
}

/** The values of one series, or the first of two divided by the second; null where one of them is, and for 0 / 0. */
export function ratio(points: number, series: readonly (readonly (number | null)[])[]): (number | null)[] {
  const [above = [], below] = series;
  return Array.from({ length: points }, (_, i) => {
    const value = above[i] ?? null;
    if (below === undefined) return value;
    const by = below[i] ?? null;
    return value === null || by === null || by === 0 ? null : value / by;
  });
}

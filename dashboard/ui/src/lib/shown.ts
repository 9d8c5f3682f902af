/** What a chart reads: columns by second, live or of the past. */
export interface Shown {
  /** Start of the newest point with data. 0 when there is none. */
  readonly newest: number;
  /** Seconds in a point. */
  readonly step: number;
  /** The last second that was asked for: what lies after it is not known to be missing. */
  readonly end: number;
  /** Goes on by itself: what is missing at its end may still come. */
  readonly live: boolean;
  /** Start of the first point with data; 0 when there is none. */
  first(): number;
  /** True when the point that holds the second has any data. */
  present(tick: number): boolean;
  /** Value of a column in the point that holds the second; NaN when missing. */
  get(name: string, tick: number): number;
  /** Copies a column from the point that holds `from` to the one that holds `to`; false when nothing is there. */
  window(name: string, from: number, to: number, out: (number | null)[]): boolean;
  /** Smallest and largest second of each point, in the order of `window`; null where a point is a second. */
  extremes(name: string, from: number, to: number): Extremes | null;
}

/** By point, null where missing. */
export interface Extremes {
  low: (number | null)[];
  high: (number | null)[];
}

/** Number of the point that holds `tick` among those from `from` on. */
export const pointAt = (tick: number, from: number, step: number) =>
  Math.floor(tick / step) - Math.floor(from / step);

/** How much a live view can be trusted, by the age of its data and not by the state of the socket. */

/** Intervals without a new second after which data is stale. */
export const STALE_INTERVALS = 3;
/** Intervals without a new second after which it counts as lost. */
export const LOST_INTERVALS = 10;
/** Seconds a healthy cluster is behind the wall clock at most: a second is published when every peer closed it. */
export const SETTLE_SECONDS = 2;

/** Fresh, stale (dimmed, age shown) or lost (hatched). */
export type Freshness = "fresh" | "stale" | "lost";

/** What freshness depends on. */
export interface Ages {
  /** Milliseconds since a second last arrived, on a monotonic clock. */
  sinceArrivalMs: number;
  /** Milliseconds between the newest second and the server's clock now. */
  dataAgeMs: number;
  /** Milliseconds between seconds. */
  tickMs: number;
}

/** Judges by the worse of both ages: a server that repeats an old second is as stale as one that is silent. */
export function freshness({ sinceArrivalMs, dataAgeMs, tickMs }: Ages): Freshness {
  const interval = tickMs > 0 ? tickMs : 1000;
  const age = Math.max(sinceArrivalMs, dataAgeMs - SETTLE_SECONDS * 1000) / interval;
  if (age > LOST_INTERVALS) return "lost";
  return age > STALE_INTERVALS ? "stale" : "fresh";
}

/** The last second the charts should reach: the newest one, or the present once data has stopped. */
export function windowEnd(newest: number, serverNowSeconds: number, state: Freshness): number {
  if (state === "fresh" || newest === 0) return newest;
  return Math.max(newest, Math.floor(serverNowSeconds) - 1);
}

/** Bounds of the live window, seconds, and in what steps it grows between them. */
const SPAN_MIN = 60;
const SPAN_MAX = 900;
const SPAN_STEP = 10;

/** The window that holds all data from `first` to `end`: it grows with it, so that data fills it from the first minute on. */
export function windowSpan(first: number, end: number): number {
  if (first === 0) return SPAN_MAX;
  const have = Math.ceil((end - first + 1) / SPAN_STEP) * SPAN_STEP;
  return Math.min(SPAN_MAX, Math.max(SPAN_MIN, have));
}

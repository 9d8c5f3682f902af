/** The range and the granularity that the address asks for, and the seconds they mean. Pure. */

/** Ranges by name, seconds. */
export const RANGES = { "1h": 3_600, "6h": 21_600, "24h": 86_400, "7d": 604_800 } as const;
export type RangeName = keyof typeof RANGES;

/** A part of the past. */
export interface Period {
  name: RangeName | "custom";
  seconds: number;
  /** Last second of a custom one. */
  to?: number;
}

export const GRANULARITIES = { second: 1, minute: 60, hour: 3_600 } as const;
export type Granularity = keyof typeof GRANULARITIES;

/** Points the server answers at most. */
const POINTS_MAX = 11_000;
/** Steps that are chosen, and up to how many points: as the server does. */
const LADDER = [1, 20, 60, 300, 900, 3_600, 21_600, 86_400] as const;
const CHOSEN_MAX = 3_600;
/** A range of the present is read again at most this often, seconds. */
const AGAIN_EVERY = 10;
/** Shorter custom ranges show next to nothing. */
export const SHORTEST = 10;

/** Seconds of the past in steps; both ends are included and lie on the grid of the step. */
export interface Window {
  from: number;
  to: number;
  step: number;
}

const whole = (text: string | null) => {
  const n = Number(text);
  return text !== null && Number.isInteger(n) && n > 0 && n < 2 ** 32 ? n : undefined;
};

/** What the address says; null is live: no range, or one that means nothing. */
export function readPeriod(query: URLSearchParams): Period | null {
  const name = query.get("range");
  if (name !== null && Object.hasOwn(RANGES, name)) {
    return { name: name as RangeName, seconds: RANGES[name as RangeName] };
  }
  const [from, to] = [whole(query.get("from")), whole(query.get("to"))];
  if (name !== "custom" || from === undefined || to === undefined || to - from + 1 < SHORTEST) return null;
  return { name: "custom", seconds: to - from + 1, to };
}

/** The same address with fixed times: what it shows stays what it was. */
export function fixedHref(href: string, from: number, to: number): string {
  const url = new URL(href);
  const changes = { range: "custom", from: String(from), to: String(to), zoom: null, paused: null };
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) url.searchParams.delete(key);
    else url.searchParams.set(key, value);
  }
  return url.href;
}

/** A part of the live time in the address: `zoom=FROM-TO`. */
export function readZoom(text: string | null): { from: number; to: number } | null {
  const [from, to] = (text ?? "").split("-").map((part) => whole(part));
  return from !== undefined && to !== undefined && to > from ? { from, to } : null;
}

/** True when a range can be shown in these points: neither too many nor a single one. */
export function carries(period: Period, granularity: Granularity): boolean {
  const points = period.seconds / GRANULARITIES[granularity];
  return points >= 2 && points <= POINTS_MAX;
}

/** The granularity in the address, when the range carries it. */
export function readGranularity(query: URLSearchParams, period: Period): Granularity | null {
  const name = query.get("granularity");
  if (name === null || !Object.hasOwn(GRANULARITIES, name)) return null;
  return carries(period, name as Granularity) ? (name as Granularity) : null;
}

/** Seconds in a point. */
export function stepOf({ seconds }: Period, granularity: Granularity | null): number {
  if (granularity !== null) return GRANULARITIES[granularity];
  const chosen = LADDER.find((step) => seconds / step <= CHOSEN_MAX);
  return chosen ?? Math.ceil(seconds / CHOSEN_MAX / 86_400) * 86_400;
}

/** The window of a range when `newest` is the newest second: it moves on in whole steps, not each second. */
export function windowOf(period: Period, step: number, newest: number): Window {
  const every = Math.max(step, AGAIN_EVERY);
  const now = Math.floor((newest + 1) / every) * every;
  // A custom range that reaches into what is still to come ends where the data does.
  const end = period.to === undefined ? now : Math.min(Math.ceil((period.to + 1) / step) * step, now);
  const start = period.to === undefined ? now - period.seconds : period.to + 1 - period.seconds;
  const from = Math.floor(start / step) * step;
  return { from, to: Math.max(end, from + step) - 1, step };
}

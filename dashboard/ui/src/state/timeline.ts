/** One time for the whole page: range, pause, zoom, crosshair. */
import { batch, computed, effect, signal } from "@preact/signals";
import {
  fixedHref,
  type Period,
  RANGES,
  readGranularity,
  readPeriod,
  readZoom,
  SHORTEST,
  stepOf,
  type Window,
  windowOf,
} from "../lib/period";
import { windowEnd, windowSpan } from "../lib/stale";
import { beat, fresh, live, newest, serverNow } from "./page";
import { navigateHere, path, query, replaceHere, setQuery } from "./router";

/** Seconds from and to, both included. */
export interface Range {
  from: number;
  to: number;
}

/** Second under the pointer in any chart; null when none. */
export const hover = signal<number | null>(null);
/** Second held by a click; null when none. In the address as `at`. */
export const pinned = signal<number | null>(readPin());
/** Part of the range that is looked at; null for all of it. */
export const zoom = signal<Range | null>(null);
/** Newest second when the view was paused; null while live. */
export const pausedAt = signal<number | null>(null);

/** The second all charts and legends read; null for the newest. */
export const cursor = computed(() => hover.value ?? pinned.value);

/** First second with data in the live time. */
const first = computed(() => {
  live.overview.version.value;
  const rings = live.overview.shown;
  return rings.firstPresent(rings.newest - LIVE_SECONDS + 1);
});

/** Length of the live window: up to 15 minutes, shorter while there is less data. */
export const span = computed(() => windowSpan(first.value, newest.value));

/** Length of the live time, seconds. */
const LIVE_SECONDS = 900;

/** What the page History shows when its address says no range: it is of the past alone. */
const HISTORY: Period = { name: "24h", seconds: RANGES["24h"] };

/** The part of the past that the address asks for; null while live. */
export const period = computed(() => readPeriod(query.value) ?? (path.value === "/history" ? HISTORY : null));

/** Its granularity when the address says one, else null: it is chosen. */
export const granularity = computed(() => period.value && readGranularity(query.value, period.value));

/** The same window as long as it holds the same seconds: what depends on it is not read again each second. */
function steady(): (next: Window) => Window {
  let last: Window | null = null;
  return (next) => {
    if (last?.from !== next.from || last.to !== next.to || last.step !== next.step) last = next;
    return last;
  };
}

/** The last second that is shown, or could be: the newest one, that of the pause, or the present when data has stopped. */
function lastSecond(): number {
  // A range is not held up by data that has stopped: its end is then hatched.
  if (fresh.value !== "fresh") beat.value;
  const end =
    newest.value === 0 ? Math.floor(serverNow()) : windowEnd(newest.value, serverNow(), fresh.value);
  return pausedAt.value ?? end;
}

const steadyPast = steady();

/** The seconds of the past that are shown, and their step; null while live. The same object until they change. */
export const past = computed<Window | null>(() => {
  const asked = period.value;
  if (asked === null) return null;
  return steadyPast(windowOf(asked, stepOf(asked, granularity.value), lastSecond()));
});

const steadyAsked = steady();

/** What panels ask the server for that follow the range of the page: the past, the zoom, or the last 15 minutes. */
export const asked = computed<Window>(() => {
  const part = zoom.value;
  if (past.value !== null) return past.value;
  if (part !== null) return steadyAsked({ ...part, step: 1 });
  // As long as the live charts are.
  return steadyAsked(windowOf({ name: "custom", seconds: span.value }, 1, lastSecond()));
});

/** Shows another part of the past, null for live; a step in the history of the browser. A pin is freed unless it is kept. */
export function choosePeriod(name: string | null, ends?: Range, kept?: number): void {
  batch(() => {
    zoom.value = null;
    if (pinned.peek() !== null && kept === undefined) pin(null);
    navigateHere({
      zoom: null,
      range: name,
      from: ends ? String(ends.from) : null,
      to: ends ? String(ends.to) : null,
      // A range that cannot carry the granularity would ignore it; the choice is made again there.
      granularity: null,
    });
  });
}

/** Chooses the granularity, null for the one that suits. */
export function chooseGranularity(name: string | null): void {
  navigateHere({ granularity: name });
}

/** What the live charts show, whatever the others do. */
export const liveRange = computed<Range>(() => {
  if (zoom.value) return zoom.value;
  // Once data has stopped, the window follows the clock.
  if (fresh.value !== "fresh") beat.value;
  const end =
    newest.value === 0 ? Math.floor(serverNow()) : windowEnd(newest.value, serverNow(), fresh.value);
  const to = pausedAt.value ?? end;
  return { from: to - span.value + 1, to };
});

/** What the charts show. */
export const range = computed<Range>(() => past.value ?? liveRange.value);

/** Holds the view. */
export function pause(): void {
  if (hold()) setQuery("paused", String(pausedAt.peek()));
}

function hold(): boolean {
  if (pausedAt.peek() !== null || newest.peek() === 0) return false;
  batch(() => {
    pausedAt.value = newest.peek();
    live.hold(true);
  });
  return true;
}

/** Back to live. */
export function resume(): void {
  batch(() => {
    if (period.peek() !== null) choosePeriod(null);
    // To leave a zoom is a step; that a pause ended is none.
    if (zoom.peek() !== null) navigateHere({ zoom: null, paused: null });
    letGo();
    setQuery("paused", null);
  });
}

function letGo(): void {
  batch(() => {
    zoom.value = null;
    pausedAt.value = null;
    live.hold(false);
  });
}

/** Pauses or goes on. */
export function togglePause(): void {
  if (pausedAt.peek() === null) pause();
  else resume();
}

/** Looks at a part, which holds the view: a moving window cannot be read. */
export function zoomTo(from: number, to: number): void {
  if (to - from < 5) return;
  const window = past.peek();
  if (window !== null) {
    const last = Math.min(window.to, Math.ceil(to) + window.step - 1);
    if (last - from + 1 >= SHORTEST) choosePeriod("custom", { from: Math.floor(from), to: last });
    return;
  }
  batch(() => {
    hold();
    zoom.value = { from, to };
    navigateHere({ zoom: `${Math.round(from)}-${Math.round(to)}` });
  });
}

/** Moves the zoomed window, within what there is. */
export function pan(seconds: number): void {
  const z = zoom.peek();
  const end = pausedAt.peek();
  if (!z || end === null) return;
  const by = Math.max(end - span.peek() + 1 - z.from, Math.min(end - z.to, seconds));
  zoom.value = { from: z.from + by, to: z.to + by };
  setQuery("zoom", `${Math.round(z.from + by)}-${Math.round(z.to + by)}`);
}

/** Zooms in (`factor` under 1) or out around the crosshair or the middle. */
export function zoomBy(factor: number): void {
  const { from, to } = range.peek();
  const middle = cursor.peek() ?? (from + to) / 2;
  const a = Math.round(middle - (middle - from) * factor);
  const b = Math.round(middle + (to - middle) * factor);
  if (past.peek() !== null) {
    zoomTo(a, b);
    return;
  }
  const end = pausedAt.peek() ?? newest.peek();
  if (b - a >= span.peek() - 1) {
    zoom.value = null;
    navigateHere({ zoom: null });
  } else zoomTo(Math.max(a, end - span.peek() + 1), Math.min(b, end));
}

/** Holds the crosshair at a second, or frees it. */
export function pin(second: number | null): void {
  batch(() => {
    pinned.value = second;
    if (second === null) hover.value = null;
  });
  setQuery("at", second === null ? null : String(second));
}

/** Moves the crosshair by keyboard, by so many points. */
export function stepCursor(seconds: number): void {
  const { from, to } = range.peek();
  const at = cursor.peek() ?? to;
  const next = Math.min(to, Math.max(from, at + seconds * (past.peek()?.step ?? 1)));
  if (pinned.peek() === null) hover.value = next;
  else pin(next);
}

/**
 * Follows the address from now on. A zoom and a pause are of the live time of this page: opened later or elsewhere they are a
 * fixed part of the past, and Back out of a zoom leads to the live view.
 */
export function startTimeline(): void {
  const { from, to } = readZoom(query.peek().get("zoom")) ?? {};
  const paused = Number(query.peek().get("paused"));
  if (from !== undefined && to !== undefined) replaceHere(fixedHref(window.location.href, from, to));
  else if (Number.isInteger(paused) && paused > LIVE_SECONDS)
    replaceHere(fixedHref(window.location.href, paused - LIVE_SECONDS + 1, paused));
  effect(() => {
    const part = readZoom(query.value.get("zoom"));
    const shown = zoom.peek();
    if (part === null && shown !== null) {
      // What was held before the zoom still is.
      if (query.value.has("paused")) zoom.value = null;
      else letGo();
    } else if (part !== null && shown === null && period.peek() === null && newest.peek() > 0) {
      hold();
      zoom.value = part;
    }
  });
}

function readPin(): number | null {
  const at = Number(query.peek().get("at"));
  return Number.isInteger(at) && at > 0 ? at : null;
}

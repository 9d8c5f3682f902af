/** The one live connection of this page, and how old its data is. */
import { computed, effect, signal } from "@preact/signals";
import { Live } from "../api/live";
import { LIVE_PATH, type SocketLike, SUBPROTOCOL } from "../api/socket";
import { BASE } from "../lib/base";
import { type Lack, lackOf } from "../lib/lack";
import { type Freshness, freshness } from "../lib/stale";
import { lookWho } from "./session";

function liveUrl(): string {
  const { protocol, host } = window.location;
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}${BASE}${LIVE_PATH}`;
}

export const live = new Live(
  {
    connect: () => new WebSocket(liveUrl(), SUBPROTOCOL) as unknown as SocketLike,
    now: () => performance.now(),
    setTimer: (run, ms) => window.setTimeout(run, ms),
    clearTimer: (timer) => window.clearTimeout(timer as number | undefined),
    random: () => Math.random(),
  },
  () => Date.now(),
);

/** Rises every second, for everything that shows an age. */
export const beat = signal(0);

/** Unix time by the server's clock, seconds. */
export function serverNow(): number {
  return (Date.now() + live.clockOffsetMs) / 1000;
}

/** The newest second that arrived, shown or not. 0 before data. */
export const newest = computed(() => {
  beat.value;
  live.overview.version.value;
  return live.overview.newest;
});

/** How far the data can be trusted. "lost" at once when the connection is known to be broken. */
export const fresh = computed<Freshness>(() => {
  beat.value;
  const at = newest.value;
  const { phase, everOpen } = live.connection.value;
  const state = freshness({
    sinceArrivalMs: performance.now() - live.arrivedAt,
    dataAgeMs: at === 0 ? 0 : (serverNow() - at) * 1000,
    tickMs: live.hello.value?.tickMs ?? 1000,
  });
  return everOpen && phase === "waiting" && state === "stale" ? "lost" : state;
});

/** Whether what is shown is the present: "reconnecting" from the moment in which the connection is known to be broken. */
export const standing = computed<"live" | "reconnecting" | "stale">(() => {
  if (fresh.value !== "fresh") return "stale";
  const { phase, everOpen } = live.connection.value;
  return everOpen && phase !== "open" ? "reconnecting" : "live";
});

/** Why nothing is shown; null when data comes in. */
export const lack = computed<Lack | null>(() =>
  lackOf({
    connectedTo: live.aggregators.state.value?.connectedTo,
    newest: newest.value,
    fresh: fresh.value,
    nodesExpected: live.overview.state.value?.completeness?.nodesExpected,
  }),
);

/** Seconds since the newest second. */
export const ageSeconds = computed(() => {
  beat.value;
  const at = newest.value;
  return at === 0 ? 0 : Math.max(0, serverNow() - at);
});

/** Starts the connection and the clocks. Called once. */
export function startPage(): void {
  live.start();
  // A socket that is refused or closed does not say to a page whether it is for want of a log-in.
  effect(() => {
    const { phase } = live.connection.value;
    if (phase === "open" || phase === "waiting") void lookWho();
  });
  window.setInterval(() => {
    beat.value++;
  }, 1000);
  window.addEventListener("online", () => live.retryNow());
  document.addEventListener("visibilitychange", () => live.hide(document.hidden));
  window.addEventListener("pagehide", (e) => {
    if (!e.persisted) live.stop();
  });
}

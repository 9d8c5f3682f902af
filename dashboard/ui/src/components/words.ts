/** What is said while something is waited for or absent, and the names of node states: the same words everywhere. */
import { computed } from "@preact/signals";
import { clock, span } from "../lib/format";
import type { NodeRow } from "../lib/nodes";
import { lack, live, newest } from "../state/page";
import type { Mark } from "./Icons";

export const CONNECTING = "Connecting.";
export const FIRST_SECOND = "Waiting for the first second.";
export const NO_NODE = "No node has reported yet. Start a node daemon and it appears here.";
/** Said by request charts and panels without data; one of them on a page says what to do. */
export const NO_REQUESTS = "No requests in this time.";

/** Why nothing can be shown at all; null when data comes in. Goes before any word about a single panel. */
export const lackText = computed((): string | null => {
  const aggregators = live.aggregators.state.value;
  switch (lack.value) {
    case "connecting":
      return CONNECTING;
    case "no-aggregator":
      return `No aggregator answers${aggregators?.reason ? ` (${aggregators.reason})` : ""}. Starling goes on asking.`;
    case "no-second":
      return `Waiting for the first second of aggregator ${aggregators?.connectedTo}.`;
    case "no-node":
      return NO_NODE;
    case "stopped":
      return `No new data since ${clock(newest.value)}.`;
    case null:
      return null;
  }
});

/** The same in the panels of a page whose verdict line says why: once is enough. */
export const lackBriefly = computed((): string | null => {
  if (lack.value === null) return null;
  return lack.value === "stopped" ? "No new data." : "No data yet.";
});

type State = NodeRow["state"];

/** The mark of a node's state. */
export const STATE_MARK: Record<State, Mark> = {
  reporting: "ok",
  silent: "silent",
  stopped: "stopped",
  unknown: "silent",
};

/** The word for a node's state. */
export const STATE_WORD: Record<State, string> = {
  reporting: "reporting",
  silent: "silent",
  stopped: "stopped",
  unknown: "no data",
};

/** A node's state in words, with how long a silent one has been so. */
export function stateText({ state, silentSeconds }: { state: State; silentSeconds: number }): string {
  return state === "silent" ? `silent for ${span(silentSeconds)}` : STATE_WORD[state];
}

/** The mark of a row: one whose name two machines have, or that cannot read all it should, is not well. */
export function rowMark({ state, note, clash }: Pick<NodeRow, "state" | "note" | "clash">): Mark {
  if (clash) return "critical";
  return state === "reporting" && note !== "" ? "warning" : STATE_MARK[state];
}

/** What is said while something is waited for or absent, and the names of node states: the same words everywhere. */
import type { ViewStatus } from "../api/view";
import { span } from "../lib/format";
import type { NodeRow } from "../lib/nodes";
import type { Mark } from "./Icons";

export const CONNECTING = "Connecting.";
export const FIRST_SECOND = "Waiting for the first second.";
export const NO_NODE = "No node has reported yet. Start a node daemon and it appears here.";
/** Said by request charts and panels without data. */
export const NO_REQUESTS = "No requests reported. A daemon takes OTLP metrics on port 4317.";

/** What a view without data waits for. */
export function waitingFor(status: ViewStatus): string {
  return status === "empty" ? "Waiting for the first frame from a node." : CONNECTING;
}

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

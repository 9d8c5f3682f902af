/** Why there is nothing to show where something should be: the real cause, so that nobody looks in the wrong place. */
import type { Freshness } from "./stale";

/**
 * connecting: the dashboard server has not said anything yet. no-aggregator: the server reaches none. no-second: it
 * reaches one, which has sent nothing yet. no-node: no node has reported to it. stopped: there was data, and it ended.
 */
export type Lack = "connecting" | "no-aggregator" | "no-second" | "no-node" | "stopped";

/** What the cause follows from. */
export interface Feed {
  /** The server said which aggregator it reads: its name, empty for none. Undefined before it said anything. */
  connectedTo: string | undefined;
  /** The newest second, 0 before the first. */
  newest: number;
  fresh: Freshness;
  /** Nodes expected in the newest second. */
  nodesExpected: number | undefined;
}

/** The cause; null when data comes in and what is absent was not reported. */
export function lackOf({ connectedTo, newest, fresh, nodesExpected }: Feed): Lack | null {
  if (newest > 0) {
    if (fresh !== "fresh") return "stopped";
    return nodesExpected === 0 ? "no-node" : null;
  }
  if (connectedTo === undefined) return "connecting";
  return connectedTo === "" ? "no-aggregator" : "no-second";
}

/** Looks after alerts: the JSON endpoints of one alert. */
import { ask, change } from "./ask";

/** An alert with all that is known of it; see `/api/v1/alerts/{id}`. */
export interface AlertDetails {
  id: string;
  severity: string;
  metric: string;
  state: string;
  sentence: string;
  description: string;
  resolution: string | null;
  expression: string;
  runbook: string | null;
  node: string | null;
  since: string;
  firedAt: string | null;
  endedAt: string | null;
  noDataSince: string | null;
  direction: "above" | "below";
  unit: string;
  currentText: string | null;
  worstText: string | null;
  thresholdText: string | null;
  currentValue: number | null;
  valueAtFiring: number | null;
  threshold: number | null;
  clearThreshold: number | null;
  severities: { since: string; severity: string }[];
  crossings: number;
  nodesReporting: number | null;
  nodesExpected: number | null;
  attributes: Record<string, string>;
  labels: Record<string, string>;
  acknowledgement: { who: string; comment: string; at: string; until: string | null } | null;
  silencedBy: string[];
  children: string[];
  parent: string | null;
}

const path = (id: string) => `/api/v1/alerts/${encodeURIComponent(id)}`;

export const alertDetails = (id: string, signal: AbortSignal) => ask<AlertDetails>(path(id), {}, signal);

export const acknowledge = (id: string, who: string, comment: string, forSeconds: number) =>
  change<AlertDetails>("POST", `${path(id)}/ack`, { who, comment, forSeconds });

export const unacknowledge = (id: string, who: string) =>
  change<AlertDetails>("DELETE", `${path(id)}/ack?who=${encodeURIComponent(who)}`);

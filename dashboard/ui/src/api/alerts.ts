/** Looks after alerts: the JSON endpoints of alerts, silences, episodes and rules. */
import type { Matcher } from "../lib/alerts";
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
  scope: string;
  subject: string | null;
  outcome: string | null;
  worst: number | null;
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
  /** The series that its value is made of; null when it is made of none that history holds. */
  chart: AlertSeries | null;
  parent: string | null;
  /** The alert of a wider scope that notifiers are told in its place. */
  heldBackBy: string | null;
}

/** Of one series its values, of two the first divided by the second. */
export interface AlertSeries {
  series: { name: string; attributes: Record<string, string>; statistic: string }[];
  /** Where the alert begins, in `unit`. */
  limit: number | null;
  unit: string;
}

const path = (id: string) => `/api/v1/alerts/${encodeURIComponent(id)}`;

export const alertDetails = (id: string, signal: AbortSignal) => ask<AlertDetails>(path(id), {}, signal);

export const acknowledge = (id: string, who: string, comment: string, forSeconds: number) =>
  change<AlertDetails>("POST", `${path(id)}/ack`, { who, comment, forSeconds });

export const unacknowledge = (id: string, who: string) =>
  change<AlertDetails>("DELETE", `${path(id)}/ack?who=${encodeURIComponent(who)}`);

/** What is open, and whether that is known. */
export interface OpenAnswer {
  unavailable: string | null;
  rules: number | null;
  alerts: AlertDetails[];
}

/** Alerts that are over and open ones, newest first. */
export interface EpisodesAnswer {
  episodes: AlertDetails[];
  nextPage: string | null;
}

export interface SilenceDetails {
  id: string | null;
  matchers: Matcher[];
  who: string;
  comment: string;
  starts: string;
  ends: string;
}

export interface SilencesAnswer {
  silences: SilenceDetails[];
}

export interface RuleDetails {
  name: string;
  file: string | null;
  scope: string;
  expression: string;
  direction: "above" | "below";
  levels: { severity: string; fire: number | null; clear: number | null }[];
  forSeconds: number;
  holdSeconds: number;
  description: string;
  open: number;
  unit: string;
}

export interface RulesAnswer {
  rules: RuleDetails[];
  mistakes: string[];
  refusedSince: string | null;
}

/** A short form of an alert that a silence covers. */
export interface Covered {
  id: string;
  sentence: string;
}

interface SilenceAnswer {
  silence: SilenceDetails | null;
  covers: Covered[];
}

/** What a silence would make quiet now. */
export const previewSilence = (matchers: Matcher[]) =>
  change<SilenceAnswer>("POST", "/api/v1/silences", { matchers, forSeconds: 1, preview: true });

export const makeSilence = (matchers: Matcher[], who: string, comment: string, forSeconds: number) =>
  change<SilenceAnswer>("POST", "/api/v1/silences", { matchers, who, comment, forSeconds });

export const endSilence = (id: string, who: string) =>
  change<SilenceDetails>(
    "DELETE",
    `/api/v1/silences/${encodeURIComponent(id)}?who=${encodeURIComponent(who)}`,
  );

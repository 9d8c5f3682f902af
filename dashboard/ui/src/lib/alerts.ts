/** What is said of an alert, and in which order alerts stand. */
import type { OpenAlerts } from "../gen/starling/live/v1/live_pb";
import { type Alert, type AlertEpisode, AlertScope, AlertSeverity } from "../gen/starling/v1/alerts_pb";
import { byteRate, bytes, micros, NONE, percent, plural, rate, significant, span, text } from "./format";

/** Words of rule names that are written otherwise than they stand there. */
const WRITTEN: Record<string, string> = {
  cpu: "CPU",
  tcp: "TCP",
  oom: "OOM",
  io: "IO",
  dns: "DNS",
  http: "HTTP",
};

/** A rule's name as a title: "cpu-busy" is "CPU busy". */
export function ruleTitle(rule: string): string {
  const words = rule.split(/[-_]+/).filter((word) => word !== "");
  const text = words.map((word) => WRITTEN[word] ?? word).join(" ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The values of its attributes: which filesystem, which protocol. */
export function partsText(episode: AlertEpisode): string {
  return episode.attributes.map((a) => a.value).join(", ");
}

/** Whom it is about: a node, "zone:a", "cluster". */
export function subjectText({ scope, subject }: AlertEpisode): string {
  if (subject !== "") return subject;
  return scope === AlertScope.CLUSTER ? "cluster" : NONE;
}

/** The node it is about; empty when it is about none. */
export const nodeOf = ({ scope, subject }: AlertEpisode) => (scope === AlertScope.NODE ? subject : "");

/** Its value against its limit, and the worst when that is another. */
export function valueText(alert: Alert): { value: string; rest: string } {
  const { valueText: value, limitText: limit, worstText: worst } = alert;
  const parts = [
    limit === "" ? "" : `limit ${limit}`,
    worst === "" || worst === value ? "" : `worst ${worst}`,
  ];
  const rest = parts.filter((part) => part !== "").join(", ");
  return { value: value === "" ? "no value" : value, rest: rest === "" ? "" : `, ${rest}` };
}

const WORDS: Record<AlertSeverity, string> = {
  [AlertSeverity.UNSPECIFIED]: "unknown",
  [AlertSeverity.INFO]: "info",
  [AlertSeverity.WARNING]: "warning",
  [AlertSeverity.ERROR]: "error",
  [AlertSeverity.CRITICAL]: "critical",
};

/** "critical", "error", "warning", "info". */
export const severityWord = (severity: AlertSeverity) => WORDS[severity] ?? WORDS[AlertSeverity.UNSPECIFIED];

/** What stands where alerts would: why nothing is known of them, or that none is open and what is watched. */
export function emptyText(alerts: Pick<OpenAlerts, "unavailable" | "rules">): string {
  if (alerts.unavailable !== "") return `Alerts are not known: ${alerts.unavailable}.`;
  const watched = alerts.rules === undefined ? "" : ` ${plural(alerts.rules, "rule")} watched each second.`;
  return `No alert is open.${watched}`;
}

/**
 * `alerts` in the order of `shown`, the ids that are on the page: what is new comes behind. A list that is pointed at must
 * not move.
 */
export function held<T>(alerts: readonly T[], shown: readonly string[], id: (alert: T) => string): T[] {
  const place = new Map(shown.map((key, at) => [key, at]));
  const at = (alert: T) => place.get(id(alert)) ?? shown.length;
  return [...alerts].sort((a, b) => at(a) - at(b));
}

/** An address that may be opened: a runbook comes from a file of rules, and only the web is followed. */
export function webAddress(text: string): string | null {
  return /^https?:\/\/\S+$/i.test(text) ? text : null;
}

/** A value of the rule's unit, as far as this page can write it; the server has written those of now. */
export function written(value: number | null, unit: string): string {
  if (value === null) return NONE;
  switch (unit) {
    case "share":
      return text(percent(value));
    case "time":
      return value < 60 ? text(micros(value * 1e6)) : span(value);
    case "bytes":
      return text(bytes(value));
    case "bytes_per_second":
      return text(byteRate(value));
    case "rate":
      return text(rate(value));
    default:
      return significant(value);
  }
}

/**
 * `alerts` with each below the one that explains it, and how deep it stands. One whose parent is not among them stands by
 * itself.
 */
export function families<T extends { id: string; parent: string | null }>(
  alerts: readonly T[],
): { alert: T; under: boolean }[] {
  const ids = new Set(alerts.map((alert) => alert.id));
  const below = new Map<string, T[]>();
  for (const alert of alerts) {
    if (alert.parent !== null && alert.parent !== alert.id && ids.has(alert.parent)) {
      below.set(alert.parent, [...(below.get(alert.parent) ?? []), alert]);
    }
  }
  const placed = new Set([...below.values()].flat().map((alert) => alert.id));
  const rows = alerts
    .filter((alert) => !placed.has(alert.id))
    .flatMap((alert) => [
      { alert, under: false },
      ...(below.get(alert.id) ?? []).map((child) => ({ alert: child, under: true })),
    ]);
  // A circle of parents, which no server sends, must hide nothing.
  const shown = new Set(rows.map((row) => row.alert.id));
  return [
    ...rows,
    ...alerts.filter((alert) => !shown.has(alert.id)).map((alert) => ({ alert, under: false })),
  ];
}

/** Says what is quiet: all of a silence's must hold. */
export interface Matcher {
  key: string;
  value: string;
  regex: boolean;
  negate: boolean;
}

/** A matcher as it is written in rules and by Alertmanager: `rule="cpu-busy"`, `node=~"web-.*"`. */
export function matcherText({ key, value, regex, negate }: Matcher): string {
  const sign = regex ? (negate ? "!~" : "=~") : negate ? "!=" : "=";
  return `${key}${sign}${JSON.stringify(value)}`;
}

/** What an alert is found by. */
interface Findable {
  metric: string;
  subject: string | null;
  severity: string;
  state: string;
  attributes: Record<string, string>;
  labels: Record<string, string>;
}

/** The words of `alert` that a text may be looked for in, small letters. */
export function wordsOf(alert: Findable): string {
  const pairs = Object.entries({ ...alert.attributes, ...alert.labels }).map(([k, v]) => `${k}:${v}`);
  const all = [
    alert.metric,
    ruleTitle(alert.metric),
    alert.subject ?? "",
    alert.severity,
    alert.state,
    ...pairs,
  ];
  return all.join(" ").toLowerCase();
}

/** Whether each word of `text` is among those of `alert`. */
export function holds(alert: Findable, text: string): boolean {
  const words = wordsOf(alert);
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => words.includes(word));
}

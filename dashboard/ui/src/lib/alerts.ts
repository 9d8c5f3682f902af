/** What is said of an alert, and in which order alerts stand. */
import type { OpenAlerts } from "../gen/starling/live/v1/live_pb";
import { type Alert, type AlertEpisode, AlertScope, AlertSeverity } from "../gen/starling/v1/alerts_pb";
import { NONE, plural } from "./format";

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

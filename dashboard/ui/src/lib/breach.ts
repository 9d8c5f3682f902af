/** What is beyond a limit, by open alerts: the same for a card, a ring and a cell. Pure. */
import { type Alert, AlertScope, AlertSeverity } from "../gen/starling/v1/alerts_pb";

/** How bad: a warning, or what needs somebody now. */
export type Breach = "warning" | "critical";

/** The summary cards. */
export type Card = "requests" | "latency" | "errors" | "connections" | "cpu" | "memory";

/** The rules that come with Starling, by the card whose figure they judge. */
const CARD_OF: ReadonlyMap<string, Card> = new Map(
  Object.entries({
    "requests-fell": "requests",
    latency: "latency",
    "node-slow": "latency",
    errors: "errors",
    "node-errors": "errors",
    "connections-failing": "connections",
    "connections-turned-away": "connections",
    "connection-table-full": "connections",
    "tcp-retransmits": "connections",
    "cpu-busy": "cpu",
    "cpu-pressure": "cpu",
    "load-high": "cpu",
    "memory-low": "memory",
    "memory-pressure": "memory",
    "memory-killed": "memory",
    "swap-full": "memory",
  } as const satisfies Record<string, Card>),
);

const breachOf = (severity: AlertSeverity | undefined): Breach | null => {
  if (severity === AlertSeverity.WARNING) return "warning";
  return severity === AlertSeverity.ERROR || severity === AlertSeverity.CRITICAL ? "critical" : null;
};

const worse = (a: Breach | undefined, b: Breach): Breach => (a === "critical" ? a : b);

/** A card beyond a limit: how bad, and the limit in words. */
export interface Broken {
  breach: Breach;
  limit: string;
}

/** The cards beyond a limit: those of the cluster, or of a node when all alerts are of it. */
export function cardsOf(alerts: readonly Alert[], ofNode: boolean): Partial<Record<Card, Broken>> {
  const cards: Partial<Record<Card, Broken>> = {};
  for (const { episode, limitText } of alerts) {
    const card = episode && CARD_OF.get(episode.rule);
    const breach = breachOf(episode?.severity);
    if (!card || breach === null) continue;
    if (!ofNode && episode.scope !== AlertScope.CLUSTER) continue;
    const known = cards[card];
    if (known?.breach !== "critical")
      cards[card] = { breach: worse(known?.breach, breach), limit: limitText };
  }
  return cards;
}

/** The nodes that something open is about, with the worst of it. */
export function nodesOf(alerts: readonly Alert[]): Map<string, Breach> {
  const nodes = new Map<string, Breach>();
  for (const { episode } of alerts) {
    const breach = breachOf(episode?.severity);
    if (episode?.scope !== AlertScope.NODE || breach === null) continue;
    nodes.set(episode.subject, worse(nodes.get(episode.subject), breach));
  }
  return nodes;
}

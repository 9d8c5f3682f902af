/** Charted columns of live.proto by name. What each is stands in the generated catalogue. */
import { type ChartName, PROTOCOL_NAMES } from "../gen/catalogue";

/** A column of a view: one of the catalogue's charts, a core of a node, or what Explore was asked to draw. */
export type Column = ChartName | `core.${number}` | `explore.${number}`;

export type Protocol = (typeof PROTOCOL_NAMES)[number];

/** How a protocol is written and drawn. */
const LOOKS = {
  http1: { label: "HTTP/1.1", short: "h1", color: "c-h1" },
  http2: { label: "HTTP/2", short: "h2", color: "c-h2" },
  http3: { label: "HTTP/3", short: "h3", color: "c-h3" },
  websocket: { label: "WebSocket", short: "ws", color: "c-ws" },
  grpc: { label: "gRPC", short: "gRPC", color: "c-grpc" },
} as const satisfies Record<Protocol, { label: string; short: string; color: string }>;

/** Protocols in the order of the catalogue, in which they are listed and stacked. */
export const PROTOCOLS = PROTOCOL_NAMES.map((name) => ({ name, ...LOOKS[name] }));

/** Column of the requests of a protocol. */
export const requestsColumn = <P extends Protocol>(protocol: P): `rps.${P}` => `rps.${protocol}`;

/** Label of a protocol; its own name when it is not one of ours. */
export function protocolLabel(name: string): string {
  return PROTOCOLS.find((p) => p.name === name)?.label ?? name;
}

/** Token of a protocol's colour. */
export function protocolColor(name: string): string {
  return PROTOCOLS.find((p) => p.name === name)?.color ?? "c-other";
}

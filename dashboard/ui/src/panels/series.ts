/** Lines and layers of the time charts: column, label, colour. */
import { COLUMN, PROTOCOLS } from "../api/columns";
import type { Series } from "../components/chart/spec";

export const REQUESTS: readonly Series[] = PROTOCOLS.map((p) => ({
  column: COLUMN.rps(p.name),
  label: p.label,
  color: p.color,
}));

/** The same with short names, for narrow panels. */
export const REQUESTS_SHORT: readonly Series[] = PROTOCOLS.map((p) => ({
  column: COLUMN.rps(p.name),
  label: p.short,
  color: p.color,
}));

export const LATENCY: readonly Series[] = [
  { column: COLUMN.p50, label: "p50", color: "c-h3" },
  { column: COLUMN.p95, label: "p95", color: "c-h2" },
  { column: COLUMN.p99, label: "p99", color: "c-grpc" },
];

export const ERRORS: readonly Series[] = [
  { column: COLUMN.errors, label: "errors", color: "c-grpc", fill: true },
];

export const NETWORK: readonly Series[] = [
  { column: COLUMN.received, label: "received", color: "c-h3", fill: true },
  { column: COLUMN.sent, label: "sent", color: "c-h2" },
];

export const DISK: readonly Series[] = [
  { column: COLUMN.diskRead, label: "read", color: "c-h3", fill: true },
  { column: COLUMN.diskWritten, label: "written", color: "c-h2" },
];

export const CPU: readonly Series[] = [{ column: COLUMN.cpu, label: "busy", color: "c-h2", fill: true }];

export const MEMORY: readonly Series[] = [
  { column: COLUMN.application, label: "application", color: "c-h2" },
  { column: COLUMN.bufferCache, label: "cache", color: "c-h1" },
  { column: COLUMN.system, label: "system", color: "c-ws" },
];

export const LOAD: readonly Series[] = [
  { column: COLUMN.load1, label: "1 min", color: "c-h2" },
  { column: COLUMN.load5, label: "5 min", color: "c-h1" },
  { column: COLUMN.load15, label: "15 min", color: "c-h3" },
];

export const CONNECTIONS: readonly Series[] = [
  { column: COLUMN.connections, label: "all", color: "c-h1", fill: true },
  { column: COLUMN.active, label: "active", color: "c-h2" },
];

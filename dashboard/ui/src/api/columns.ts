/** Names of the charted columns of live.proto, in one place. */

/** Protocols in the order in which they are stacked. */
export const PROTOCOLS = [
  { name: "http2", label: "HTTP/2", short: "h2", color: "c-h2" },
  { name: "http1", label: "HTTP/1.1", short: "h1", color: "c-h1" },
  { name: "http3", label: "HTTP/3", short: "h3", color: "c-h3" },
  { name: "grpc", label: "gRPC", short: "gRPC", color: "c-grpc" },
  { name: "websocket", label: "WebSocket", short: "ws", color: "c-ws" },
] as const;

/** Columns of both the overview and a node; requests/s, µs, 0 to 1, bytes/s. */
export const COLUMN = {
  rps: (protocol: string) => `rps.${protocol}`,
  rpsTotal: "rps.total",
  errors: "errors.total",
  p50: "latency.p50",
  p95: "latency.p95",
  p99: "latency.p99",
  p999: "latency.p999",
  connections: "connections.total",
  active: "connections.active",
  healthy: "connections.healthy",
  warning: "connections.warning",
  error: "connections.error",
  cpu: "cpu.total",
  memoryRatio: "memory.used_ratio",
  received: "network.received",
  sent: "network.sent",
  diskRead: "disk.read",
  diskWritten: "disk.written",
  load1: "load.1m",
  // A node only.
  load5: "load.5m",
  load15: "load.15m",
  application: "memory.application",
  bufferCache: "memory.buffer_cache",
  system: "memory.system",
  free: "memory.free",
  core: (n: number) => `core.${n}`,
} as const;

/** Label of a protocol; its own name when it is not one of ours. */
export function protocolLabel(name: string): string {
  return PROTOCOLS.find((p) => p.name === name)?.label ?? name;
}

/** Token of a protocol's colour. */
export function protocolColor(name: string): string {
  return PROTOCOLS.find((p) => p.name === name)?.color ?? "c-other";
}

// Generated from the catalogue of metrics, proto/src/catalogue/table.rs. To write it again:
// STARLING_BLESS=1 cargo test -p starling-dashboard --test server catalogue

/** How values are written for people. */
export type Unit = "number" | "rate" | "bytes" | "bytesPerSecond" | "share" | "micros";

/** What a charted column is. */
export interface Chart {
  /** Of its metric. */
  title: string;
  unit: Unit;
  /** Which direction is good. */
  good: "up" | "down" | "neither";
  /** Charted for a single node only. */
  ofNode: boolean;
}

/** Every charted column, in the order in which they are sent; those of 60 merged seconds stand before those of a node only. */
export const CHARTS = {
  "rps.http1": { title: "Requests", unit: "rate", good: "neither", ofNode: false },
  "rps.http2": { title: "Requests", unit: "rate", good: "neither", ofNode: false },
  "rps.http3": { title: "Requests", unit: "rate", good: "neither", ofNode: false },
  "rps.websocket": { title: "Requests", unit: "rate", good: "neither", ofNode: false },
  "rps.grpc": { title: "Requests", unit: "rate", good: "neither", ofNode: false },
  "rps.total": { title: "Requests", unit: "rate", good: "neither", ofNode: false },
  "errors.total": { title: "Errors", unit: "rate", good: "down", ofNode: false },
  "latency.p50": { title: "Latency", unit: "micros", good: "down", ofNode: false },
  "latency.p95": { title: "Latency", unit: "micros", good: "down", ofNode: false },
  "latency.p99": { title: "Latency", unit: "micros", good: "down", ofNode: false },
  "latency.p999": { title: "Latency", unit: "micros", good: "down", ofNode: false },
  "connections.healthy": { title: "Connection health", unit: "number", good: "neither", ofNode: false },
  "connections.warning": { title: "Connection health", unit: "number", good: "neither", ofNode: false },
  "connections.error": { title: "Connection health", unit: "number", good: "neither", ofNode: false },
  "connections.total": { title: "Connections", unit: "number", good: "neither", ofNode: false },
  "connections.active": { title: "Active connections", unit: "number", good: "neither", ofNode: false },
  "cpu.total": { title: "CPU", unit: "share", good: "down", ofNode: false },
  "cpu.p99": { title: "CPU, fine", unit: "share", good: "down", ofNode: false },
  "memory.used_ratio": { title: "Memory", unit: "share", good: "down", ofNode: false },
  "network.received": { title: "Network", unit: "bytesPerSecond", good: "neither", ofNode: false },
  "network.sent": { title: "Network", unit: "bytesPerSecond", good: "neither", ofNode: false },
  "disk.read": { title: "Disk", unit: "bytesPerSecond", good: "neither", ofNode: false },
  "disk.written": { title: "Disk", unit: "bytesPerSecond", good: "neither", ofNode: false },
  "load.1m": { title: "Load, 1 min", unit: "number", good: "down", ofNode: false },
  "memory.shared": { title: "Shared memory", unit: "bytes", good: "neither", ofNode: false },
  "latency.p99_minute": { title: "Latency, 60 s", unit: "micros", good: "down", ofNode: false },
  "load.5m": { title: "Load, 5 min", unit: "number", good: "down", ofNode: true },
  "load.15m": { title: "Load, 15 min", unit: "number", good: "down", ofNode: true },
  "memory.application": { title: "Memory", unit: "bytes", good: "neither", ofNode: true },
  "memory.buffer_cache": { title: "Memory", unit: "bytes", good: "neither", ofNode: true },
  "memory.system": { title: "Memory", unit: "bytes", good: "neither", ofNode: true },
  "memory.free": { title: "Memory", unit: "bytes", good: "neither", ofNode: true },
} as const satisfies Record<string, Chart>;

/** Name of a charted column. */
export type ChartName = keyof typeof CHARTS;

/** The protocols of requests, in the order of the catalogue. */
export const PROTOCOL_NAMES = ["http1", "http2", "http3", "websocket", "grpc"] as const;

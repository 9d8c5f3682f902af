/**
 * The charted panels: one line says all of what a panel shows, and every page that shows it reads that line. What a column
 * is, and how its values are written, comes from the catalogue of metrics.
 *
 * To chart one more metric: give its row in the catalogue a chart, and add a line here.
 */
import { PROTOCOLS, requestsColumn } from "../api/columns";
import type { Series } from "../components/chart/spec";
import { NO_REQUESTS } from "../components/words";
import { CHARTS, type ChartName, type Unit } from "../gen/catalogue";
import * as f from "../lib/format";

/** How the values of a unit are written, and what the steps of their axis are round in. */
export interface Scale {
  axis: (v: number) => string;
  value: (v: number) => f.Quantity;
  /** Multiplies every value: 8 turns bytes into bits. */
  scale?: number;
  unit?: (max: number) => number;
  /** Top of the axis when it is fixed. */
  max?: number;
}

export const SCALES: Record<Unit, Scale> = {
  number: { axis: f.axisCount, value: f.count },
  rate: { axis: f.axisCount, value: f.rate },
  share: { axis: f.axisPercent, value: f.percent, max: 1 },
  micros: { axis: f.axisMicros, value: f.micros },
  bytes: { axis: f.axisBytes, value: f.bytes, unit: f.axisByteStep },
  bytesPerSecond: { axis: f.axisBytes, value: f.byteRate, unit: f.axisByteStep },
};

/** Networks are sold in bits. */
const BITS: Scale = { axis: f.axisBits, value: f.bits, scale: 8 };

/** How throughput of networks is written: as the reader chose. */
export const networkScale = (): { scale: Scale; note: string } =>
  f.units.value.network === "bits"
    ? { scale: BITS, note: "bit/s" }
    : { scale: SCALES.bytesPerSecond, note: "bytes per second" };

export interface TimePanelLine {
  title: string;
  note: string;
  series: readonly Series[];
  /** Said when nothing in the window has a value. */
  empty: string;
  stacked: boolean;
  scale: Scale;
  /** One of those that a node's page shows one after another, in the order of the table. */
  onNode: boolean;
}

/** A column as a series: its name, its label, its colour, and whether the area below it is filled. */
type Line = readonly [column: ChartName, label: string, color: string, fill?: "fill"];

interface More {
  stacked?: boolean;
  /** In place of the scale that the catalogue's unit has. */
  scale?: Scale;
  onNode?: boolean;
}

function panel(
  title: string,
  note: string,
  lines: readonly [Line, ...Line[]],
  empty: string,
  { stacked = false, scale = SCALES[CHARTS[lines[0][0]].unit], onNode = false }: More = {},
): TimePanelLine {
  const series = lines.map(([column, label, color, fill]) => ({
    column,
    label,
    color,
    fill: fill === "fill",
  }));
  return { title, note, series, empty, stacked, scale, onNode };
}

/** Requests of each protocol; the panel says that they are per second. */
const byProtocol = (title: string, note: string, label: "label" | "short") =>
  panel(
    title,
    note,
    PROTOCOLS.map((p): Line => [requestsColumn(p.name), p[label], p.color]) as [Line, ...Line[]],
    NO_REQUESTS,
    { stacked: true, scale: SCALES.number },
  );

const without = (what: string) => `No ${what} data in this time.`;

// biome-ignore format: a table
export const PANELS = {
  timeline: byProtocol("Request timeline", "requests per second by protocol", "label"),
  requests: byProtocol("Requests by protocol", "per second", "short"),
  latency: panel("Latency", "percentiles per second", [["latency.p50", "p50", "c-h3"], ["latency.p95", "p95", "c-h2"], ["latency.p99", "p99", "c-grpc"]], NO_REQUESTS),
  errors: panel("Errors", "per second", [["errors.total", "errors", "c-grpc", "fill"]], NO_REQUESTS),
  cpu: panel("CPU", "share of all cores", [["cpu.total", "busy", "c-h2", "fill"], ["cpu.p99", "p99 of 100 ms", "c-grpc"]], without("processor")),
  memory: panel("Memory", "", [["memory.application", "application", "c-h2"], ["memory.buffer_cache", "cache", "c-h1"], ["memory.system", "system", "c-ws"]], without("memory"), { stacked: true }),
  load: panel("Load average", "", [["load.1m", "1 min", "c-h2"], ["load.5m", "5 min", "c-h1"], ["load.15m", "15 min", "c-h3"]], without("load")),
  network: panel("Network", "bit/s", [["network.received", "received", "c-h3", "fill"], ["network.sent", "sent", "c-h2"]], without("network"), { scale: BITS, onNode: true }),
  disk: panel("Disk", "bytes per second", [["disk.read", "read", "c-h3", "fill"], ["disk.written", "written", "c-h2"]], without("disk"), { onNode: true }),
  shared: panel("Shared memory", "", [["memory.shared", "shared", "c-h1", "fill"]], without("memory"), { onNode: true }),
  connections: panel("Connections", "TCP", [["connections.total", "all", "c-h1", "fill"], ["connections.active", "active", "c-h2"]], without("connection"), { onNode: true }),
};

export type PanelName = keyof typeof PANELS;

/** The panels that a node's page shows one after another. */
export const ON_NODE = (Object.keys(PANELS) as PanelName[]).filter((name) => PANELS[name].onNode);

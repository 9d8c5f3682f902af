/**
 * The charted panels: one line says all of what a panel shows, and every page that shows it reads that line. To chart
 * one more metric, add its series to `series.ts` and a line here.
 */
import type { Series } from "../components/chart/spec";
import { NO_REQUESTS } from "../components/words";
import * as f from "../lib/format";
import * as s from "./series";

/** How the values of a unit are written, and what the steps of their axis are round in. */
export interface Unit {
  axis: (v: number) => string;
  value: (v: number) => f.Quantity;
  /** Multiplies every value: 8 turns bytes into bits. */
  scale?: number;
  unit?: (max: number) => number;
  /** Top of the axis when it is fixed. */
  max?: number;
}

/** Steps of an axis of bytes are round in the unit that fits. */
const binary = (max: number): number => f.byteUnit(max).size;

export const UNITS = {
  count: { axis: f.axisCount, value: f.count },
  perSecond: { axis: f.axisCount, value: f.rate },
  share: { axis: f.axisPercent, value: f.percent, max: 1 },
  micros: { axis: f.axisMicros, value: f.micros },
  bytes: { axis: f.axisBytes, value: f.bytes, unit: binary },
  bytesPerSecond: { axis: f.axisBytes, value: f.byteRate, unit: binary },
  bitsPerSecond: { axis: f.axisBits, value: f.bits, scale: 8 },
} satisfies Record<string, Unit>;

export interface TimePanelLine {
  title: string;
  note: string;
  unit: keyof typeof UNITS;
  series: readonly Series[];
  stacked: boolean;
  /** Said when nothing in the window has a value. */
  empty: string;
}

const line = (
  title: string,
  note: string,
  unit: keyof typeof UNITS,
  series: readonly Series[],
  empty: string,
  stacked = false,
): TimePanelLine => ({ title, note, unit, series, stacked, empty });

const NONE_NOW = "No requests in this time.";
const without = (what: string) => `No ${what} data in this time.`;

// biome-ignore format: a table
export const PANELS = {
  timeline:    line("Request timeline", "requests per second by protocol", "count", s.REQUESTS, NO_REQUESTS, true),
  requests:    line("Requests by protocol", "per second", "count", s.REQUESTS_SHORT, NO_REQUESTS, true),
  latency:     line("Latency", "percentiles per second", "micros", s.LATENCY, NONE_NOW),
  errors:      line("Errors", "per second", "perSecond", s.ERRORS, NO_REQUESTS),
  cpu:         line("CPU", "share of all cores", "share", s.CPU, without("processor")),
  memory:      line("Memory", "", "bytes", s.MEMORY, without("memory"), true),
  load:        line("Load average", "", "count", s.LOAD, without("load")),
  network:     line("Network", "bit/s", "bitsPerSecond", s.NETWORK, without("network")),
  disk:        line("Disk", "bytes per second", "bytesPerSecond", s.DISK, without("disk")),
  connections: line("Connections", "TCP", "count", s.CONNECTIONS, without("connection")),
};

export type PanelName = keyof typeof PANELS;

/** What a time chart is asked to show, and where its plot lies in its box. */
import type { ReadonlySignal } from "@preact/signals";
import type { Column } from "../../api/columns";
import type { ViewStatus } from "../../api/view";
import type { Quantity } from "../../lib/format";
import type { Shown } from "../../lib/shown";

/** What a chart reads: live, or of the past. */
export interface ChartView {
  readonly shown: Shown;
  readonly version: ReadonlySignal<number>;
  readonly status: ReadonlySignal<ViewStatus>;
}

/** One line or layer. */
export interface Series {
  column: Column;
  label: string;
  /** Colour token. */
  color: string;
  /** Fill below a line (stacked layers are always filled). */
  fill?: boolean;
  /** Pixels of ink and gap, where colours alone are too few. */
  dash?: readonly number[];
}

/** A mean of these would mean nothing. */
export const isPercentile = ({ column, label }: Series) =>
  /^latency\.|\.p\d+/.test(column) || /^p\d/.test(label);

/** A horizontal dashed line. */
export interface Reference {
  value: number;
  label: string;
}

/** What a chart shows; may change at any time. */
export interface ChartSpec {
  series: readonly Series[];
  stacked: boolean;
  /** Multiplies every value: 8 turns bytes into bits. */
  scale: number;
  axis: (v: number) => string;
  value: (v: number) => Quantity;
  /** What axis steps are round multiples of, given the largest value. */
  unit: (max: number) => number;
  /** Top of the axis when it is fixed. */
  max: number | undefined;
  references: readonly Reference[];
  hidden: ReadonlySet<string>;
  noDataLabel: boolean;
  /** The sum of all layers, of which a stack shows the extremes. */
  total: Column | undefined;
}

/** A legend entry: NaN when the second has no value. */
export interface Reading {
  series: Series;
  value: number;
  /** False when the whole window has no value of it. */
  any: boolean;
}

/**
 * Pixels around the plot. The left side holds the widest label ("1000 MiB"), the same in every chart, so that a second is
 * one vertical line down the page.
 */
export const LEFT = 52;
export const RIGHT = 12;
export const TOP = 8;
export const BOTTOM = 20;

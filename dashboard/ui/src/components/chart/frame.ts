/** One picture's worth of data: the columns of the window, stacked if wanted, with its scale and its gaps. */
import { stack } from "../../lib/polyline";
import { type Extremes, pointAt } from "../../lib/shown";
import { niceTicks, ticksAround } from "../../lib/ticks";
import { fresh } from "../../state/page";
import { type Range, range } from "../../state/timeline";
import type { ChartSpec, ChartView, Reading } from "./spec";

/** Trailing seconds that may be missing before they are hatched: a second needs time to arrive. */
const TRAILING_SLACK = 3;
/** Charts lower than this have room for three steps on the axis, others for four. */
const LOW = 140;

/** Values by point of the window, null where missing. */
export type Column = (number | null)[];

/** What is filled between the smallest and the largest second of each point. */
export interface Band extends Extremes {
  /** Colour token. */
  color: string;
}

export class Frame {
  window: Range = { from: 0, to: 1 };
  /** Top of the axis. */
  top = 1;
  /** Foot of the axis: 0 unless something lies below it. */
  bottom = 0;
  ticks: number[] = [0, 1];
  gaps: Range[] = [];
  readings: Reading[] = [];
  /** Largest drawn value, before `scale`. NaN without data. */
  peak = Number.NaN;
  /** Nothing to draw and no limit to draw it against. */
  blank = true;
  /** Start of each point, Unix seconds. */
  readonly seconds: number[] = [];
  /** Seconds in a point. */
  step = 1;
  /** Smallest and largest second of the points, with a colour; of the lines, or of all of a stack. */
  bands: Band[] = [];
  readonly raw: Column[] = [];
  private readonly sums: Column[] = [];

  constructor(
    private readonly view: Pick<ChartView, "shown">,
    private readonly height: number,
  ) {}

  /** The columns as they are drawn. */
  drawn(stacked: boolean): Column[] {
    return stacked ? this.sums : this.raw;
  }

  /** Reads the window again. */
  read(spec: ChartSpec): void {
    const { series, scale, hidden, stacked, references, unit } = spec;
    const { from, to } = range.value;
    this.window = { from, to };
    const rings = this.view.shown;
    this.step = rings.step;
    const n = pointAt(to, from, this.step) + 1;
    this.seconds.length = n;
    for (let i = 0; i < n; i++) this.seconds[i] = from + i * this.step;
    const any: boolean[] = [];
    series.forEach((s, k) => {
      const out = this.raw[k] ?? [];
      this.raw[k] = out;
      any[k] = rings.window(s.column, from, to, out);
      if (hidden.has(s.column)) out.fill(null);
      else if (scale !== 1) {
        for (let i = 0; i < n; i++) out[i] = out[i] === null ? null : (out[i] as number) * scale;
      }
    });
    this.readings = series.map((s, k) => ({ series: s, value: Number.NaN, any: any[k] ?? false }));
    if (stacked) stack(this.raw, this.sums);
    this.bands = this.readBands(spec);
    let peak = Number.NaN;
    let lowest = 0;
    for (const column of stacked ? [] : this.raw) {
      for (const v of column) if (v !== null && v < lowest) lowest = v;
    }
    for (const column of stacked ? this.sums.slice(-1) : this.raw) {
      for (const v of column) if (v !== null && !(v <= peak)) peak = v;
    }
    for (const { high } of this.bands) {
      for (const v of high) if (v !== null && !(v <= peak)) peak = v;
    }
    this.peak = peak / scale;
    const highest = Math.max(
      Number.isNaN(peak) ? 0 : peak,
      ...references.map((r) => r.value * scale).filter((v) => Number.isFinite(v)),
    );
    this.blank = highest === 0 && Number.isNaN(peak);
    const limit = spec.max === undefined ? highest * 1.04 : spec.max * scale;
    const steps = this.height < LOW ? 3 : 4;
    this.ticks =
      lowest < 0
        ? ticksAround(lowest * 1.04, limit, steps, unit(Math.max(limit, -lowest)))
        : limit > 0
          ? niceTicks(limit, steps, unit(limit))
          : // Nothing but zero needs no finer scale.
            [0, unit(1)];
    this.bottom = this.ticks[0] as number;
    this.top = this.ticks[this.ticks.length - 1] as number;
    this.gaps = this.findGaps();
  }

  /** Takes the legend's values from one second. */
  readAt(second: number, scale: number): void {
    const rings = this.view.shown;
    for (const r of this.readings) r.value = rings.get(r.series.column, second) * scale;
  }

  /** Number of the point that holds a second. */
  index(second: number): number {
    return pointAt(second, this.window.from, this.step);
  }

  /** Extremes of what is drawn. Those of single layers say nothing of a stack. */
  private readBands({ series, scale, hidden, stacked, total }: ChartSpec): Band[] {
    const { from, to } = this.window;
    // Without a layer the sum is another one.
    const whole = total !== undefined && hidden.size === 0;
    const wanted = stacked
      ? whole
        ? [{ column: total, color: "text-2" }]
        : []
      : series.filter((s) => !hidden.has(s.column));
    const times = (v: number | null) => (v === null ? null : v * scale);
    return wanted.flatMap(({ column, color }) => {
      const both = this.view.shown.extremes(column, from, to);
      return both === null ? [] : [{ color, low: both.low.map(times), high: both.high.map(times) }];
    });
  }

  /** Seconds without any data. What lies before the first data is not missing: nothing was measured then. */
  private findGaps(): Range[] {
    const rings = this.view.shown;
    const { from } = this.window;
    const to = Math.min(this.window.to, rings.end);
    const out: Range[] = [];
    let start = -1;
    const seen = rings.first() || Number.POSITIVE_INFINITY;
    const slack = rings.live && fresh.value === "fresh" ? TRAILING_SLACK : 0;
    const { step } = this;
    for (let t = Math.max(from, seen); t < to + 1 + step; t += step) {
      const missing = t <= to && !rings.present(t);
      if (missing && start < 0) start = t;
      if (!missing && start >= 0) {
        const trailing = t > to;
        if (!trailing || t - start > slack) {
          out.push({ from: start - step, to: trailing ? to : t });
        }
        start = -1;
      }
    }
    return out;
  }
}

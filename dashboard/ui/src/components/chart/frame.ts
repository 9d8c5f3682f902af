/** One picture's worth of data: the columns of the window, stacked if wanted, with its scale and its gaps. */
import type { LiveView } from "../../api/view";
import { stack } from "../../lib/polyline";
import { niceTicks } from "../../lib/ticks";
import { fresh } from "../../state/page";
import { type Range, range } from "../../state/timeline";
import type { ChartSpec, Reading } from "./spec";

/** Trailing seconds that may be missing before they are hatched: a second needs time to arrive. */
const TRAILING_SLACK = 3;
/** Charts lower than this have room for three steps on the axis, others for four. */
const LOW = 140;

/** Values by second of the window, null where missing. */
export type Column = (number | null)[];

export class Frame {
  window: Range = { from: 0, to: 1 };
  /** Top of the axis. */
  top = 1;
  ticks: number[] = [0, 1];
  gaps: Range[] = [];
  readings: Reading[] = [];
  /** Largest drawn value, before `scale`. NaN without data. */
  peak = Number.NaN;
  /** Nothing to draw and no limit to draw it against. */
  blank = true;
  readonly seconds: number[] = [];
  readonly raw: Column[] = [];
  private readonly sums: Column[] = [];

  constructor(
    private readonly view: Pick<LiveView, "shown">,
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
    const n = to - from + 1;
    this.seconds.length = n;
    for (let i = 0; i < n; i++) this.seconds[i] = from + i;
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
    let peak = Number.NaN;
    for (const column of stacked ? this.sums.slice(-1) : this.raw) {
      for (const v of column) if (v !== null && !(v <= peak)) peak = v;
    }
    this.peak = peak / scale;
    const highest = Math.max(
      Number.isNaN(peak) ? 0 : peak,
      ...references.map((r) => r.value * scale).filter((v) => Number.isFinite(v)),
    );
    this.blank = highest === 0 && Number.isNaN(peak);
    const limit = spec.max === undefined ? highest * 1.04 : spec.max * scale;
    this.ticks = niceTicks(limit, this.height < LOW ? 3 : 4, unit(limit));
    this.top = this.ticks[this.ticks.length - 1] as number;
    this.gaps = this.findGaps();
  }

  /** Takes the legend's values from one second. */
  readAt(second: number, scale: number): void {
    const rings = this.view.shown;
    for (const r of this.readings) r.value = rings.get(r.series.column, second) * scale;
  }

  /** Seconds without any data. What lies before the first data is not missing: nothing was measured then. */
  private findGaps(): Range[] {
    const rings = this.view.shown;
    const { from, to } = this.window;
    const out: Range[] = [];
    let start = -1;
    let seen = rings.firstPresent(rings.newest - rings.capacity + 1);
    if (seen === 0) seen = Number.POSITIVE_INFINITY;
    for (let t = Math.max(from, seen); t <= to + 1; t++) {
      const missing = t <= to && !rings.present(t);
      if (missing && start < 0) start = t;
      if (!missing && start >= 0) {
        const trailing = t > to;
        if (!trailing || fresh.value !== "fresh" || t - start > TRAILING_SLACK) {
          out.push({ from: start - 1, to: trailing ? to : t });
        }
        start = -1;
      }
    }
    return out;
  }
}

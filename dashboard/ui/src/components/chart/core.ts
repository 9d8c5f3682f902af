/** Draws one time chart: uPlot for axes and series, and an overlay of our own for the common crosshair. */
import uPlot from "uplot";
import type { LiveView } from "../../api/view";
import { font, hatch } from "../../lib/canvas";
import { clock, clockMinute, type Quantity } from "../../lib/format";
import { polyline, runs, stack } from "../../lib/polyline";
import { niceTicks, timeTicks } from "../../lib/ticks";
import { fresh } from "../../state/page";
import { theme, token } from "../../state/theme";
import { cursor, type Range, range } from "../../state/timeline";

/** One line or layer. */
export interface Series {
  column: string;
  label: string;
  /** Colour token. */
  color: string;
  /** Fill below a line (stacked layers are always filled). */
  fill?: boolean;
}

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
}

/** A legend entry: NaN when the second has no value. */
export interface Reading {
  series: Series;
  value: number;
  /** False when the whole window has no value of it. */
  any: boolean;
}

const RIGHT = 12;
const TOP = 8;
const BOTTOM = 20;
/** Trailing seconds that may be missing before they are hatched: a second needs time to arrive. */
const TRAILING_SLACK = 3;

export class ChartCore {
  /** Read by the legend after each draw. */
  readings: Reading[] = [];
  /** Largest drawn value, before `scale`. NaN without data. */
  peak = Number.NaN;

  private plot: uPlot | null = null;
  private window: Range = { from: 0, to: 1 };
  private top = 1;
  private blank = true;
  private ticks: number[] = [0, 1];
  private gaps: Range[] = [];
  private raw: (number | null)[][] = [];
  private stacked: (number | null)[][] = [];
  private seconds: number[] = [];
  private readonly overlay: HTMLDivElement;
  private readonly line: HTMLDivElement;
  private readonly tag: HTMLDivElement;
  private readonly dots: HTMLDivElement[] = [];

  constructor(
    private readonly host: HTMLElement,
    private readonly view: Pick<LiveView, "shown">,
    private spec: ChartSpec,
    private readonly height: number,
    readonly left: number,
  ) {
    const div = (cls: string) => {
      const d = document.createElement("div");
      d.className = cls;
      return d;
    };
    this.overlay = div("hair");
    this.line = div("hair-x");
    this.tag = div("hair-tag");
    this.overlay.append(this.line, this.tag);
    host.append(this.overlay);
    this.overlay.hidden = true;
  }

  /** Takes new settings; the number of series is fixed for a chart's life. */
  configure(spec: ChartSpec): void {
    this.spec = spec;
  }

  destroy(): void {
    this.plot?.destroy();
    this.plot = null;
    this.overlay.remove();
  }

  /** Second under a pointer position. */
  secondAt(clientX: number): number {
    const box = this.host.getBoundingClientRect();
    const share = (clientX - box.left - this.left) / Math.max(1, box.width - this.left - RIGHT);
    const { from, to } = this.window;
    return Math.round(from + Math.min(1, Math.max(0, share)) * (to - from));
  }

  /** Reads the columns and draws everything. */
  draw(): void {
    const width = this.host.clientWidth;
    if (width < 40) return;
    this.read();
    if (this.plot === null) {
      this.plot = new uPlot(this.options(width), this.data(), this.host);
      this.host.append(this.overlay);
    } else {
      if (this.plot.width !== width) this.plot.setSize({ width, height: this.height });
      this.plot.setData(this.data(), true);
    }
    this.drawCursor();
  }

  /** Moves the crosshair and reads the values under it. */
  drawCursor(): void {
    const { from, to } = this.window;
    const at = cursor.value;
    this.readAt(at ?? this.view.shown.newest);
    const inside = at !== null && at >= from && at <= to && this.plot !== null;
    this.overlay.hidden = !inside;
    if (!inside) return;
    const width = this.host.clientWidth - this.left - RIGHT;
    const x = this.left + (width * (at - from)) / Math.max(1, to - from);
    this.line.style.transform = `translateX(${Math.round(x)}px)`;
    this.line.style.top = `${TOP}px`;
    this.line.style.height = `${this.height - TOP - BOTTOM}px`;
    this.tag.textContent = clock(at);
    const half = 28;
    const tagX = Math.min(this.left + width - half, Math.max(this.left + half, x));
    this.tag.style.transform = `translateX(${Math.round(tagX - half)}px)`;
    const drawn = this.spec.stacked ? this.stacked : this.raw;
    this.spec.series.forEach((s, k) => {
      let dot = this.dots[k];
      if (!dot) {
        dot = document.createElement("div");
        dot.className = "hair-dot";
        this.dots[k] = dot;
        this.overlay.append(dot);
      }
      const v = this.raw[k]?.[at - from] ?? null;
      const y = drawn[k]?.[at - from] ?? null;
      dot.hidden = v === null || y === null;
      if (y === null) return;
      dot.style.backgroundColor = `var(--${s.color})`;
      const py = TOP + (this.height - TOP - BOTTOM) * (1 - y / this.top);
      dot.style.transform = `translate(${(x - 4).toFixed(1)}px, ${(py - 4).toFixed(1)}px)`;
    });
  }

  private read(): void {
    const { series, scale, hidden, stacked, references, unit } = this.spec;
    const { from, to } = range.value;
    this.window = { from, to };
    const rings = this.view.shown;
    const n = to - from + 1;
    this.seconds.length = n;
    for (let i = 0; i < n; i++) this.seconds[i] = from + i;
    let peak = Number.NaN;
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
    if (stacked) stack(this.raw, this.stacked);
    const top = stacked ? this.stacked.slice(-1) : this.raw;
    for (const column of top) {
      for (const v of column) if (v !== null && !(v <= peak)) peak = v;
    }
    this.peak = peak / scale;
    const highest = Math.max(
      Number.isNaN(peak) ? 0 : peak,
      ...references.map((r) => r.value * scale).filter((v) => Number.isFinite(v)),
    );
    this.blank = highest === 0 && Number.isNaN(peak);
    const steps = this.height < 140 ? 3 : 4;
    const limit = this.spec.max === undefined ? highest * 1.04 : this.spec.max * scale;
    this.ticks = niceTicks(limit, steps, unit(limit));
    this.top = this.ticks[this.ticks.length - 1] as number;
    this.gaps = this.findGaps();
  }

  /** Seconds without any data. What lies before the first data is not missing: nobody measured then. */
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

  private readAt(second: number): void {
    const rings = this.view.shown;
    for (const r of this.readings) r.value = rings.get(r.series.column, second) * this.spec.scale;
  }

  private data(): uPlot.AlignedData {
    return [this.seconds, ...(this.spec.stacked ? this.stacked : this.raw)] as uPlot.AlignedData;
  }

  private options(width: number): uPlot.Options {
    const axisFont = font(11);
    return {
      width,
      height: this.height,
      padding: [TOP, RIGHT, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      select: { show: false, left: 0, top: 0, width: 0, height: 0 },
      scales: {
        x: { time: false, range: () => [this.window.from, this.window.to] },
        y: { range: () => [0, this.top] },
      },
      axes: [
        {
          size: BOTTOM,
          gap: 5,
          font: axisFont,
          stroke: () => token("text-3"),
          grid: { show: false },
          ticks: { show: false },
          splits: (u) => {
            const plot = u.width - this.left - RIGHT;
            const { from, to } = this.window;
            const margin = ((to - from) * 16) / Math.max(1, plot);
            const labels = Math.max(2, Math.floor(plot / 95));
            return timeTicks(from, to, labels).filter((t) => t <= to - margin + RIGHT * (margin / 16));
          },
          values: (_, splits) =>
            splits.map((t) => (splits.every((s) => s % 60 === 0) ? clockMinute(t) : clock(t))),
        },
        {
          size: this.left,
          gap: 7,
          font: axisFont,
          stroke: () => token("text-3"),
          grid: { stroke: () => token("grid"), width: 1 },
          ticks: { show: false },
          splits: () => this.ticks,
          // Without data there is no scale to speak of.
          values: (_, splits) => splits.map((v) => (v > 0 && this.blank ? "" : this.spec.axis(v))),
        },
      ],
      series: [{}, ...this.spec.series.map((s, k) => this.seriesOptions(s, k))],
      hooks: { drawAxes: [(u) => this.drawUnder(u)], draw: [(u) => this.drawOver(u)] },
    };
  }

  private seriesOptions(s: Series, k: number): uPlot.Series {
    const stacked = () => this.spec.stacked;
    return {
      stroke: () => token(s.color),
      width: 1.5,
      points: { show: false },
      fill: () => {
        const alpha = stacked() ? "57" : s.fill ? "21" : "00";
        return token(s.color) + alpha;
      },
      paths: (u) => {
        const own = (stacked() ? this.stacked : this.raw)[k] ?? [];
        const below = stacked() && k > 0 ? this.stacked[k - 1] : null;
        const x = (i: number) => u.valToPos(this.window.from + i, "x", true);
        const y = (v: number) => u.valToPos(v, "y", true);
        const line = new Path2D();
        const area = new Path2D();
        const filled = stacked() || s.fill === true;
        // A hidden layer has no line; its neighbours close over it.
        const hidden = this.spec.hidden.has(s.column);
        for (const [start, end] of hidden ? [] : runs(own)) {
          const p = polyline(own, start, end, x, y);
          line.moveTo(p[0] as number, p[1] as number);
          if (p.length === 2) line.lineTo((p[0] as number) + 1.5 * uPlot.pxRatio, p[1] as number);
          for (let i = 2; i < p.length; i += 2) line.lineTo(p[i] as number, p[i + 1] as number);
          if (!filled) continue;
          area.moveTo(p[0] as number, p[1] as number);
          for (let i = 2; i < p.length; i += 2) area.lineTo(p[i] as number, p[i + 1] as number);
          const floor = below ? polyline(below, start, end, x, y) : [x(start), y(0), x(end - 1), y(0)];
          for (let i = floor.length - 2; i >= 0; i -= 2)
            area.lineTo(floor[i] as number, floor[i + 1] as number);
          area.closePath();
        }
        return { stroke: line, fill: filled ? area : null, clip: null, band: null, flags: 0 };
      },
    };
  }

  private drawUnder(u: uPlot): void {
    const ratio = uPlot.pxRatio;
    const g = u.ctx;
    const { left, top, width, height } = u.bbox;
    g.save();
    g.fillStyle = token("line-2");
    g.fillRect(left, Math.round(u.valToPos(0, "y", true)) - ratio / 2, width, ratio);
    for (const gap of this.gaps) {
      const a = Math.max(left, u.valToPos(gap.from, "x", true));
      const b = Math.min(left + width, u.valToPos(gap.to, "x", true));
      const w = Math.max(2 * ratio, b - a);
      hatch(g, token("hatch"), a, top, w, height, 8 * ratio, 1.25 * ratio);
    }
    g.restore();
  }

  private drawOver(u: uPlot): void {
    const ratio = uPlot.pxRatio;
    const g = u.ctx;
    const { left, top, width } = u.bbox;
    g.save();
    g.font = font(11 * ratio);
    g.lineJoin = "round";
    const label = (s: string, x: number, y: number, align: CanvasTextAlign) => {
      g.textAlign = align;
      g.strokeStyle = token("surface");
      g.lineWidth = 4 * ratio;
      g.setLineDash([]);
      g.strokeText(s, x, y);
      g.fillStyle = token("text-2");
      g.fillText(s, x, y);
    };
    for (const r of this.spec.references) {
      if (!Number.isFinite(r.value)) continue;
      const y = Math.round(u.valToPos(r.value * this.spec.scale, "y", true)) + ratio / 2;
      g.strokeStyle = token("text-3");
      g.lineWidth = ratio;
      g.setLineDash([3 * ratio, 3 * ratio]);
      g.beginPath();
      g.moveTo(left, y);
      g.lineTo(left + width, y);
      g.stroke();
      label(r.label, left + 6 * ratio, Math.max(top + 9 * ratio, y - 5 * ratio), "left");
    }
    if (this.spec.noDataLabel) {
      for (const gap of this.gaps) {
        const a = u.valToPos(gap.from, "x", true);
        const b = u.valToPos(gap.to, "x", true);
        const middle = Math.min(left + width - 24 * ratio, Math.max(left + 24 * ratio, (a + b) / 2));
        if (b - a > 8 * ratio) label("no data", middle, top + 10 * ratio, "center");
      }
    }
    g.restore();
  }
}

/** Redraws depend on these besides the data. */
export function chartInputs(): void {
  range.value;
  theme.value;
  fresh.value;
}

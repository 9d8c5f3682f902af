/** Draws one time chart: uPlot for axes and series, and an overlay of our own for the common crosshair. */
import uPlot from "uplot";
import { font } from "../../lib/canvas";
import { clock, clockMinute, dayOrMinute } from "../../lib/format";
import { polyline, runs, withOwnLine } from "../../lib/polyline";
import { timeTicks } from "../../lib/ticks";
import { zone } from "../../lib/zone";
import { fresh } from "../../state/page";
import { theme, token } from "../../state/theme";
import { cursor, range } from "../../state/timeline";
import { Crosshair } from "./crosshair";
import { Frame } from "./frame";
import { drawOver, drawUnder } from "./paint";
import { BOTTOM, type ChartSpec, type ChartView, type Reading, RIGHT, type Series, TOP } from "./spec";

/** Half the width of a time label, pixels: with and without seconds. */
const HALF_CLOCK = 25;
const HALF_MINUTE = 16;
/** Pixels one time label needs with the space beside it. */
const LABEL_ROOM = 95;
/** From this length on the axis names days: both ends are included. */
const DAY = 86_400 - 1;

export class ChartCore {
  private plot: uPlot | null = null;
  private destroyed = false;
  private readonly frame: Frame;
  private readonly hair: Crosshair;

  constructor(
    private readonly host: HTMLElement,
    private readonly view: Pick<ChartView, "shown">,
    private spec: ChartSpec,
    private readonly height: number,
    readonly left: number,
  ) {
    this.frame = new Frame(view, height);
    this.hair = new Crosshair(host, height, left);
  }

  /** Read by the legend after each draw. */
  get readings(): readonly Reading[] {
    return this.frame.readings;
  }

  /** Largest drawn value, before `scale`. NaN without data. */
  get peak(): number {
    return this.frame.peak;
  }

  /** Takes new settings; the number of series is fixed for a chart's life. */
  configure(spec: ChartSpec): void {
    this.spec = spec;
  }

  destroy(): void {
    this.destroyed = true;
    this.plot?.destroy();
    this.plot = null;
    this.hair.remove();
  }

  /** Second under a pointer position. */
  secondAt(clientX: number): number {
    const box = this.host.getBoundingClientRect();
    const share = (clientX - box.left - this.left) / Math.max(1, box.width - this.left - RIGHT);
    const { from, to } = this.frame.window;
    return Math.round(from + Math.min(1, Math.max(0, share)) * (to - from));
  }

  /** Reads the columns and draws everything. */
  draw(): void {
    const width = this.host.clientWidth;
    // Something asked for before may come after the end, such as the font.
    if (width < 40 || this.destroyed) return;
    this.frame.read(this.spec);
    if (this.plot === null) {
      this.plot = new uPlot(this.options(width), this.data(), this.host);
      this.hair.raise();
    } else {
      if (this.plot.width !== width) this.plot.setSize({ width, height: this.height });
      this.plot.setData(this.data(), true);
    }
    this.drawCursor();
  }

  /** Moves the crosshair and reads the values under it. */
  drawCursor(): void {
    const at = cursor.value;
    this.frame.readAt(at ?? this.view.shown.newest, this.spec.scale);
    this.hair.draw(this.plot === null ? null : at, this.frame, this.spec);
  }

  private data(): uPlot.AlignedData {
    return [this.frame.seconds, ...this.frame.drawn(this.spec.stacked)] as uPlot.AlignedData;
  }

  /** Round seconds whose labels stay within the chart. */
  private timeSplits(width: number): number[] {
    const plot = width - this.left - RIGHT;
    const { from, to } = this.frame.window;
    const ticks = timeTicks(from, to, Math.max(2, Math.floor(plot / LABEL_ROOM)));
    const half = wholeMinutes(ticks) ? HALF_MINUTE : HALF_CLOCK;
    const perPixel = (to - from) / Math.max(1, plot);
    return ticks.filter((t) => t <= to - (half - RIGHT) * perPixel);
  }

  private options(width: number): uPlot.Options {
    const axisFont = font(11);
    const { frame } = this;
    return {
      width,
      height: this.height,
      padding: [TOP, RIGHT, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      select: { show: false, left: 0, top: 0, width: 0, height: 0 },
      scales: {
        x: { time: false, range: () => [frame.window.from, frame.window.to] },
        y: { range: () => [frame.bottom, frame.top] },
      },
      axes: [
        {
          size: BOTTOM,
          gap: 5,
          font: axisFont,
          stroke: () => token("text-3"),
          grid: { show: false },
          ticks: { show: false },
          splits: (u) => this.timeSplits(u.width),
          values: (_, splits) => {
            const { from, to } = frame.window;
            return splits.map(to - from >= DAY ? dayOrMinute : wholeMinutes(splits) ? clockMinute : clock);
          },
        },
        {
          size: this.left,
          gap: 7,
          font: axisFont,
          stroke: () => token("text-3"),
          grid: { stroke: () => token("grid"), width: 1 },
          ticks: { show: false },
          splits: () => frame.ticks,
          // Without data there is no scale to speak of.
          values: (_, splits) => splits.map((v) => (v !== 0 && frame.blank ? "" : this.spec.axis(v))),
        },
      ],
      series: [{}, ...this.spec.series.map((s, k) => this.seriesOptions(s, k))],
      hooks: {
        drawAxes: [(u) => drawUnder(u, frame)],
        draw: [(u) => drawOver(u, frame, this.spec)],
      },
    };
  }

  private seriesOptions(s: Series, k: number): uPlot.Series {
    const stacked = () => this.spec.stacked;
    return {
      stroke: () => token(s.color),
      width: 1.5,
      points: { show: false },
      ...(s.dash && { dash: [...s.dash] }),
      fill: () => {
        const alpha = stacked() ? "57" : s.fill ? "21" : "00";
        return token(s.color) + alpha;
      },
      paths: (u) => {
        const drawn = this.frame.drawn(stacked());
        const own = drawn[k] ?? [];
        const below = stacked() && k > 0 ? drawn[k - 1] : null;
        const x = (i: number) => u.valToPos(this.frame.seconds[i] ?? 0, "x", true);
        const y = (v: number) => u.valToPos(v, "y", true);
        const line = new Path2D();
        const area = new Path2D();
        const filled = stacked() || s.fill === true;
        // A hidden layer has no line; its neighbours close over it.
        const hidden = this.spec.hidden.has(s.column);
        const lined = stacked() ? withOwnLine(this.frame.raw, k) : own;
        for (const [start, end] of hidden ? [] : runs(lined)) {
          const p = polyline(own, start, end, x, y);
          line.moveTo(p[0] as number, p[1] as number);
          if (p.length === 2) line.lineTo((p[0] as number) + 1.5 * uPlot.pxRatio, p[1] as number);
          for (let i = 2; i < p.length; i += 2) line.lineTo(p[i] as number, p[i + 1] as number);
        }
        for (const [start, end] of hidden || !filled ? [] : runs(own)) {
          const p = polyline(own, start, end, x, y);
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
}

/** True when the labels need no seconds. */
function wholeMinutes(ticks: readonly number[]): boolean {
  return ticks.every((t) => t % 60 === 0);
}

/** Redraws depend on these besides the data. */
export function chartInputs(): void {
  range.value;
  theme.value;
  fresh.value;
  zone.value;
}

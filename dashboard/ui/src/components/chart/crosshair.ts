/** The common crosshair over one chart: line, time tag and a dot on each series. */
import { clock, clockWithin } from "../../lib/format";
import type { Frame } from "./frame";
import { BOTTOM, type ChartSpec, RIGHT, TOP } from "./spec";

const HALF_TAG = 28;

function div(cls: string): HTMLDivElement {
  const d = document.createElement("div");
  d.className = cls;
  return d;
}

export class Crosshair {
  private readonly overlay = div("hair");
  private readonly line = div("hair-x");
  private readonly tag = div("hair-tag");
  private readonly dots: HTMLDivElement[] = [];

  constructor(
    private readonly host: HTMLElement,
    private readonly height: number,
    private readonly left: number,
  ) {
    this.overlay.append(this.line, this.tag);
    this.overlay.hidden = true;
    host.append(this.overlay);
  }

  /** Puts it above what was added to the chart since. */
  raise(): void {
    this.host.append(this.overlay);
  }

  remove(): void {
    this.overlay.remove();
  }

  /** Moves to a second; null hides it. */
  draw(at: number | null, frame: Frame, spec: ChartSpec): void {
    const { from, to } = frame.window;
    const inside = at !== null && at >= from && at <= to;
    this.overlay.hidden = !inside;
    if (!inside) return;
    const width = this.host.clientWidth - this.left - RIGHT;
    const plot = this.height - TOP - BOTTOM;
    const index = frame.index(at);
    // A point stands at its first second.
    const x = this.left + (width * ((frame.seconds[index] ?? at) - from)) / Math.max(1, to - from);
    this.line.style.transform = `translateX(${Math.round(x)}px)`;
    this.line.style.top = `${TOP}px`;
    this.line.style.height = `${plot}px`;
    this.tag.textContent = frame.step === 1 ? clock(at) : clockWithin(at, to - from, frame.step);
    const half = this.tag.offsetWidth / 2 || HALF_TAG;
    const tagX = Math.min(this.left + width - half, Math.max(this.left + half, x));
    this.tag.style.transform = `translateX(${Math.round(tagX - half)}px)`;
    const drawn = frame.drawn(spec.stacked);
    spec.series.forEach((s, k) => {
      let dot = this.dots[k];
      if (!dot) {
        dot = div("hair-dot");
        this.dots[k] = dot;
        this.overlay.append(dot);
      }
      const v = frame.raw[k]?.[index] ?? null;
      const y = drawn[k]?.[index] ?? null;
      dot.hidden = v === null || y === null;
      if (y === null) return;
      dot.style.backgroundColor = `var(--${s.color})`;
      const py = TOP + (plot * (frame.top - y)) / (frame.top - frame.bottom);
      dot.style.transform = `translate(${(x - 4).toFixed(1)}px, ${(py - 4).toFixed(1)}px)`;
    });
  }
}

/** A small line without axes: the shape of the shown range, with a dot at its end. */
import { effect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Column } from "../api/columns";
import type { LiveView } from "../api/view";
import { envelope, runs } from "../lib/polyline";
import { cancel, schedule } from "../lib/scheduler";
import { liveRange } from "../state/timeline";

interface Props {
  view: Pick<LiveView, "shown" | "version">;
  column: Column;
  /** Colour token. */
  color?: string;
  /** A dashed line, for a target. */
  reference?: number;
  /** Draw from zero and not from the smallest value. */
  zero?: boolean;
}

/** Trailing seconds that may be missing at the live end: a second needs time to arrive. */
const SLACK = 3;

export function Sparkline({ view, column, color = "c-h2", reference, zero = false }: Props) {
  const svg = useRef<SVGSVGElement>(null);
  useEffect(() => {
    const element = svg.current;
    if (!element) return;
    const values: (number | null)[] = [];
    const [line, area, dot, ref] = element.children as unknown as [
      SVGPathElement,
      SVGPathElement,
      SVGCircleElement,
      SVGLineElement,
    ];
    const draw = () => {
      const width = element.clientWidth;
      const height = element.clientHeight;
      const { from, to } = liveRange.peek();
      const any = view.shown.window(column, from, to, values);
      if (!any || width < 16 || height < 8) {
        for (const e of [line, area]) e.removeAttribute("d");
        dot.setAttribute("r", "0");
        return;
      }
      const there = values.filter((v): v is number => v !== null);
      let high = Math.max(...there, reference ?? Number.NEGATIVE_INFINITY);
      let low = zero ? 0 : Math.min(...there, reference ?? Number.POSITIVE_INFINITY);
      // Nothing but zero lies on the axis.
      if (high === 0 && low === 0) high = 1;
      // Another flat line stands in the middle, and noise of a few percent does not look like a storm.
      const least = Math.max(Math.abs(high) * 0.05, 1e-9);
      if (high - low < least) {
        high += least / 2;
        low -= least / 2;
      }
      const x = (i: number) => ((width - 5) * i) / Math.max(1, values.length - 1);
      const y = (v: number) => height - 3 - ((height - 6) * (v - low)) / (high - low);
      let d = "";
      let fill = "";
      let end: [number, number] | null = null;
      let last = 0;
      for (const [start, stop] of runs(values)) {
        const p = envelope(values, start, stop, x, y);
        let part = "";
        for (let i = 0; i < p.length; i += 2) {
          part += `${i === 0 ? "M" : "L"}${(p[i] as number).toFixed(1)} ${(p[i + 1] as number).toFixed(1)}`;
        }
        last = stop;
        d += p.length === 2 ? `${part}h1` : part;
        end = [p[p.length - 2] as number, p[p.length - 1] as number];
        fill += `${part}L${end[0].toFixed(1)} ${height}L${(p[0] as number).toFixed(1)} ${height}Z`;
      }
      line.setAttribute("d", d);
      // What does not begin at zero is not filled from there.
      if (low <= 0) area.setAttribute("d", fill);
      else area.removeAttribute("d");
      // A dot is the present: a line that ended before has none.
      if (end && values.length - last > SLACK) dot.setAttribute("r", "0");
      else if (end) {
        dot.setAttribute("cx", end[0].toFixed(1));
        dot.setAttribute("cy", end[1].toFixed(1));
        dot.setAttribute("r", "2.5");
      }
      const at = reference === undefined ? -9 : y(reference);
      ref.setAttribute("y1", String(at));
      ref.setAttribute("y2", String(at));
      ref.setAttribute("x2", String(width));
    };
    const stop = effect(() => {
      view.version.value;
      liveRange.value;
      schedule(element, draw);
    });
    const resize = new ResizeObserver(() => schedule(element, draw));
    resize.observe(element);
    return () => {
      stop();
      resize.disconnect();
      cancel(element);
    };
  }, [view, column, reference, zero]);
  return (
    <svg ref={svg} class="spark" aria-hidden="true" style={{ color: `var(--${color})` }}>
      <path fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round" />
      <path fill="currentColor" opacity=".08" />
      <circle fill="currentColor" r="0" />
      <line class="ref" x1="0" />
    </svg>
  );
}

/** What a chart draws besides its series: the ground line and gaps below them, limits and captions above. */
import uPlot from "uplot";
import { font, hatch } from "../../lib/canvas";
import { polyline, runs } from "../../lib/polyline";
import { token } from "../../state/theme";
import type { Frame } from "./frame";
import type { ChartSpec } from "./spec";

/** A thirteenth: the lines and the grid are seen through it. */
const BAND_ALPHA = "33";

/** Ground line, hatched gaps, and what lies between the extremes. */
export function drawUnder(u: uPlot, frame: Frame): void {
  const ratio = uPlot.pxRatio;
  const g = u.ctx;
  const { left, top, width, height } = u.bbox;
  g.save();
  g.fillStyle = token("line-2");
  g.fillRect(left, Math.round(u.valToPos(0, "y", true)) - ratio / 2, width, ratio);
  for (const gap of frame.gaps) {
    const a = Math.max(left, u.valToPos(gap.from, "x", true));
    const b = Math.min(left + width, u.valToPos(gap.to, "x", true));
    const w = Math.max(2 * ratio, b - a);
    hatch(g, token("hatch"), a, top, w, height, 8 * ratio, 1.25 * ratio);
  }
  const x = (i: number) => u.valToPos(frame.seconds[i] ?? 0, "x", true);
  const y = (v: number) => u.valToPos(v, "y", true);
  for (const { low, high, color } of frame.bands) {
    const area = new Path2D();
    for (const [start, end] of runs(high)) {
      const above = polyline(high, start, end, x, y);
      const below = polyline(low, start, end, x, y);
      area.moveTo(above[0] as number, above[1] as number);
      for (let i = 2; i < above.length; i += 2) area.lineTo(above[i] as number, above[i + 1] as number);
      for (let i = below.length - 2; i >= 0; i -= 2) area.lineTo(below[i] as number, below[i + 1] as number);
      // A point alone has no width.
      if (end - start === 1) {
        area.rect(
          (above[0] as number) - ratio,
          above[1] as number,
          2 * ratio,
          (below[1] as number) - (above[1] as number),
        );
      }
      area.closePath();
    }
    g.fillStyle = token(color) + BAND_ALPHA;
    g.fill(area);
  }
  g.restore();
}

/** Limits, targets and the words in gaps. */
export function drawOver(u: uPlot, frame: Frame, spec: ChartSpec): void {
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
  for (const r of spec.references) {
    if (!Number.isFinite(r.value)) continue;
    const y = Math.round(u.valToPos(r.value * spec.scale, "y", true)) + ratio / 2;
    g.strokeStyle = token("text-3");
    g.lineWidth = ratio;
    g.setLineDash([3 * ratio, 3 * ratio]);
    g.beginPath();
    g.moveTo(left, y);
    g.lineTo(left + width, y);
    g.stroke();
    label(r.label, left + 6 * ratio, Math.max(top + 9 * ratio, y - 5 * ratio), "left");
  }
  if (spec.noDataLabel) {
    for (const gap of frame.gaps) {
      const a = u.valToPos(gap.from, "x", true);
      const b = u.valToPos(gap.to, "x", true);
      const middle = Math.min(left + width - 24 * ratio, Math.max(left + 24 * ratio, (a + b) / 2));
      if (b - a > 8 * ratio) label("no data", middle, top + 10 * ratio, "center");
    }
  }
  g.restore();
}

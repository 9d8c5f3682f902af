/** CPU per core: one strip each, stronger colour is busier. Where there is room, strips are tall and show height too. */
import { batch, effect, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { LiveView } from "../api/view";
import { font, hatch, prepare } from "../lib/canvas";
import { onRamp } from "../lib/color";
import { wholePercent } from "../lib/format";
import { cancel, schedule } from "../lib/scheduler";
import { ramp, theme, token } from "../state/theme";
import { cursor, hover, liveRange, pin, pinned, stepCursor } from "../state/timeline";

/** Order of the strips. */
export type CoreOrder = "core" | "busiest";

/** Pixels from one strip to the next: at least, and at least for few cores. */
const ROW_MIN = 15;
const ROW_FEW = 44;
/** Up to this many strips in a column count as few. */
const FEW = 4;
/** Pixels between strips. */
const BETWEEN = 4;
/** From this height on, a strip is as high as its core is busy. */
const PROFILE = 18;
const NUMBER = 24;
const VALUE = 38;
const GUTTER = 24;

interface Props {
  view: Pick<LiveView, "shown" | "version">;
  /** Busy share of each core in the newest second. */
  cores: readonly number[];
  order: CoreOrder;
}

export function CoreStrips({ view, cores, order }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useSignal(0);
  // The panel may be taller than the strips need; they take what there is.
  const room = useSignal(0);
  const count = cores.length;
  const columns = width.value < 480 ? 1 : count > 64 ? 4 : count > 8 ? 2 : 1;
  const perColumn = Math.ceil(count / columns);
  const least = perColumn * (perColumn <= FEW ? ROW_FEW : ROW_MIN);
  const height = Math.max(least, room.value);
  const row = Math.floor((height + BETWEEN) / perColumn);
  const tall = row - BETWEEN;
  const cell = (width.value - GUTTER * (columns - 1)) / columns;
  const strip = Math.max(0, cell - NUMBER - VALUE);

  const draw = () => {
    const g = canvas.current && prepare(canvas.current, width.peek(), height);
    if (!g || strip < 10) return;
    const { from, to } = liveRange.peek();
    const table = ramp.peek();
    const rings = view.shown;
    const at = cursor.peek();
    const indexes = cores.map((_, i) => i);
    if (order === "busiest") indexes.sort((a, b) => (cores[b] as number) - (cores[a] as number));
    const colors = {
      text2: token("text-2"),
      text3: token("text-3"),
      hatch: token("hatch"),
      line: token("text"),
      track: token("surface-2"),
    };
    const profile = tall >= PROFILE;
    const n = to - from + 1;
    const first = rings.firstPresent(from);
    // One block per pixel at most; a block shows the busiest of its seconds, so a spike is never averaged away.
    const blocks = Math.min(n, Math.floor(strip));
    g.font = font(11);
    g.textBaseline = "middle";
    indexes.forEach((core, k) => {
      const x0 = Math.floor(k / perColumn) * (cell + GUTTER);
      const y0 = (k % perColumn) * row;
      const name = `core.${core}` as const;
      g.fillStyle = colors.text3;
      g.textAlign = "right";
      g.fillText(String(core), x0 + NUMBER - 8, y0 + tall / 2 + 1);
      if (profile && first > 0) {
        const x = Math.round(x0 + NUMBER + (strip * Math.max(0, first - from)) / n);
        g.fillStyle = colors.track;
        g.fillRect(x, y0, x0 + NUMBER + strip - x, tall);
      }
      let gap = -1;
      for (let b = 0; b <= blocks; b++) {
        const start = from + Math.floor((b * n) / blocks);
        const end = from + Math.floor(((b + 1) * n) / blocks) - 1;
        const v = b < blocks ? rings.peak(name, start, end) : 0;
        const x = x0 + NUMBER + (strip * b) / blocks;
        if (Number.isNaN(v)) {
          if (gap < 0) gap = x;
          continue;
        }
        if (gap >= 0 && first < start) {
          hatch(g, colors.hatch, gap, y0, x - gap, tall, 5, 1);
        }
        gap = -1;
        if (b === blocks) break;
        g.fillStyle = onRamp(table, v);
        // Edges are rounded to pixels, so that neighbours neither overlap nor leave a seam.
        const left = Math.round(x);
        const right = Math.round(x0 + NUMBER + (strip * (b + 1)) / blocks);
        // An idle core still has a foot: zero is not missing.
        const high = profile ? Math.max(2, Math.round(tall * Math.min(1, v))) : tall;
        g.fillRect(left, y0 + tall - high, right - left, high);
      }
      if (at !== null && at >= from && at <= to) {
        g.fillStyle = colors.line;
        g.fillRect(Math.round(x0 + NUMBER + (strip * (at - from)) / n), y0 - 1, 1, tall + 2);
      }
      const value = at === null ? (cores[core] as number) : rings.get(name, at);
      g.fillStyle = colors.text2;
      g.textAlign = "right";
      g.fillText(wholePercent(value), x0 + cell, y0 + tall / 2 + 1);
    });
  };
  const latest = useRef(draw);
  latest.current = draw;

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const resize = new ResizeObserver(() => {
      batch(() => {
        width.value = element.clientWidth;
        room.value = element.clientHeight;
      });
    });
    resize.observe(element);
    const stop = effect(() => {
      view.version.value;
      liveRange.value;
      cursor.value;
      theme.value;
      schedule(element, () => latest.current());
    });
    return () => {
      stop();
      resize.disconnect();
      cancel(element);
    };
  }, [view]);
  useEffect(() => {
    if (host.current) schedule(host.current, () => latest.current());
  });

  const secondAt = (clientX: number): number | null => {
    const box = host.current?.getBoundingClientRect();
    if (!box) return null;
    const x = (clientX - box.left) % (cell + GUTTER);
    if (x < NUMBER || x > NUMBER + strip) return null;
    const { from, to } = liveRange.peek();
    return Math.round(from + ((x - NUMBER) / strip) * (to - from));
  };
  const busiest = cores
    .map((v, i) => [i, v] as const)
    .sort((a, b) => b[1] - a[1])
    .slice(0, 2)
    .map(([i, v]) => `core ${i} at ${wholePercent(v)}`);
  return (
    <div
      ref={host}
      class="cores"
      role="img"
      aria-label={`Utilisation of ${count} cores. Busiest: ${busiest.join(", ")}`}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys move the common crosshair
      tabIndex={0}
      style={{ minHeight: `${least}px` }}
      onPointerMove={(e) => {
        hover.value = secondAt(e.clientX);
      }}
      onPointerLeave={() => {
        hover.value = null;
      }}
      onClick={(e) => {
        const second = secondAt(e.clientX);
        if (second !== null) pin(pinned.value === second ? null : second);
      }}
      onKeyDown={(e) => {
        if (e.key !== "ArrowLeft" && e.key !== "ArrowRight") return;
        e.preventDefault();
        stepCursor((e.key === "ArrowLeft" ? -1 : 1) * (e.shiftKey ? 10 : 1));
      }}
    >
      <canvas ref={canvas} />
    </div>
  );
}

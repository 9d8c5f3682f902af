/** Values by time and value: stronger colour is more. One cell can be read exactly, by pointer or by arrow keys. */
import { effect, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { placeOf } from "../lib/box";
import { font, hatch, prepare } from "../lib/canvas";
import { onRamp } from "../lib/color";
import { clock, clockMinute, clockWithin, dayOrMinute } from "../lib/format";
import { gapsOf, type Heat, moveCell, strength, within } from "../lib/heat";
import { cancel, schedule } from "../lib/scheduler";
import { timeTicks } from "../lib/ticks";
import { ramp, theme, token } from "../state/theme";
import { cursor, hover, pin, pinned } from "../state/timeline";
import { BOTTOM, LEFT, RIGHT, TOP } from "./chart/spec";
import { useWidth } from "./useWidth";

/** Pixels a time label and a value label need. */
const LABEL_ROOM = 95;
const ROW_ROOM = 26;
/** From this length on the axis names days. */
const DAY = 86_400 - 1;
const TIP = 210;

interface Props {
  heat: Heat;
  height: number;
  /** Value at the lower edge of a row, for the axis. */
  axis: (v: number) => string;
  /** Bounds of a row in words. */
  bounds: (row: Heat["rows"][number]) => string;
  /** What a cell counts: "1,234 requests". */
  amount: (v: number) => string;
  /** The picture in a sentence. */
  sentence: string;
  /** For a box that is drawn with the pointer, or with Shift and the arrow keys. */
  select?: {
    /** Where it is. */
    place: ReturnType<typeof placeOf>;
    choose: (a: Cell, b: Cell) => void;
    clear: () => void;
  };
}

interface Cell {
  row: number;
  column: number;
}

export function Heatmap({ heat, height, axis, bounds, amount, sentence, select }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(host);
  const at = useSignal<Cell | null>(null);
  /** Where a box begins that is being drawn. */
  const anchor = useSignal<Cell | null>(null);
  const byKey = useSignal(false);

  const { rows, columns, cells, step, most } = heat;
  const count = columns.length;
  const from = columns[0]?.tick ?? 0;
  const to = (columns.at(-1)?.tick ?? 0) + step;
  const plot = Math.max(1, width.value - LEFT - RIGHT);
  const high = height - TOP - BOTTOM;
  const x = (column: number) => LEFT + (plot * column) / Math.max(1, count);
  const y = (row: number) => TOP + high - (high * row) / Math.max(1, rows.length);
  const xOf = (second: number) => LEFT + (plot * (second - from)) / Math.max(1, to - from);

  const draw = () => {
    const g = canvas.current && prepare(canvas.current, width.peek(), height);
    if (!g || width.peek() < 80) return;
    const table = ramp.peek();
    cells.forEach((row, r) => {
      const [top, bottom] = [Math.round(y(r + 1)), Math.round(y(r))];
      for (let c = 0; c < count; c++) {
        const v = row[c];
        if (v === null || v === undefined) continue;
        const [left, right] = [Math.round(x(c)), Math.round(x(c + 1))];
        g.fillStyle = onRamp(table, strength(v, most));
        g.fillRect(left, top, right - left, bottom - top);
      }
    });
    for (const [start, end] of gapsOf(heat)) {
      hatch(g, token("hatch"), x(start), TOP, Math.max(2, x(end) - x(start)), high);
    }
    g.font = font(11);
    g.fillStyle = token("text-3");
    g.textBaseline = "middle";
    g.textAlign = "right";
    const every = Math.max(1, Math.ceil(ROW_ROOM / (high / Math.max(1, rows.length))));
    rows.forEach((row, r) => {
      if (r % every === 0) g.fillText(axis(row.lower), LEFT - 7, y(r));
    });
    g.textAlign = "center";
    g.textBaseline = "alphabetic";
    const ticks = timeTicks(from, to, Math.max(2, Math.floor(plot / LABEL_ROOM)));
    const whole = ticks.every((t) => t % 60 === 0);
    const label = to - from >= DAY ? dayOrMinute : whole ? clockMinute : clock;
    for (const t of ticks) {
      if (xOf(t) <= width.peek() - RIGHT - (whole ? 4 : 13)) g.fillText(label(t), xOf(t), height - 5);
    }
  };
  const latest = useRef(draw);
  latest.current = draw;

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const again = () => schedule(element, () => latest.current());
    const stop = effect(() => {
      theme.value;
      again();
    });
    document.fonts?.ready.then(again);
    return () => {
      stop();
      cancel(element);
    };
  }, []);
  // After every render: the picture is new, or the panel has another width.
  useEffect(() => {
    if (host.current) schedule(host.current, () => latest.current());
  });

  /** The cell under the pointer; of a box that is being drawn the nearest one. */
  const cellAt = (e: PointerEvent) => {
    const box = (host.current as HTMLElement).getBoundingClientRect();
    const column = Math.floor(((e.clientX - box.left - LEFT) / plot) * count);
    const row = Math.floor(((box.top + TOP + high - e.clientY) / high) * rows.length);
    const nearest = { row: within(row, rows.length), column: within(column, count) };
    const inside = nearest.row === row && nearest.column === column;
    return inside || anchor.peek() !== null ? nearest : null;
  };
  const point = (cell: Cell | null) => {
    at.value = cell;
    const tick = cell && columns[cell.column]?.tick;
    hover.value = tick ?? null;
  };

  const second = cursor.value;
  const cell = at.value && at.value.row < rows.length && at.value.column < count ? at.value : null;
  const words = cell === null ? null : cellWords(heat, cell, bounds, amount);
  const begun = anchor.value;
  const drawn =
    begun && cell && (begun.row !== cell.row || begun.column !== cell.column)
      ? between(begun, cell, rows.length, count)
      : (select?.place ?? null);
  const left = cell === null ? 0 : x(cell.column);
  return (
    <div
      class="heat"
      data-boxes={select ? "" : undefined}
      ref={host}
      style={{ height: `${height}px` }}
      role="img"
      aria-label={`${sentence}. Arrow keys read single cells${select ? ", with Shift they draw a box" : ""}`}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys read single cells
      tabIndex={0}
      onKeyDown={(e) => {
        if (e.key === "Enter" && cell !== null) {
          pin(pinned.value === null ? (columns[cell.column]?.tick ?? null) : null);
          return;
        }
        if (e.key === "Escape" && select?.place) {
          e.stopPropagation();
          anchor.value = null;
          select.clear();
          return;
        }
        const start = cell ?? { row: Math.floor(rows.length / 2), column: count - 1 };
        const next = moveCell(start, e.key, { rows: rows.length, columns: count });
        if (next === null) return;
        e.preventDefault();
        byKey.value = true;
        const to = cell === null ? start : next;
        point(to);
        anchor.value = e.shiftKey && select ? (anchor.value ?? start) : null;
        if (anchor.value) select?.choose(anchor.value, to);
      }}
      onBlur={() => {
        anchor.value = null;
        point(null);
      }}
      onPointerDown={(e) => {
        if (!select || e.button !== 0) return;
        anchor.value = cellAt(e);
        host.current?.setPointerCapture(e.pointerId);
      }}
      onPointerUp={(e) => {
        const [a, b] = [anchor.value, cellAt(e)];
        anchor.value = null;
        // A click alone reads a cell.
        if (a && b && (a.row !== b.row || a.column !== b.column)) select?.choose(a, b);
      }}
      onPointerCancel={() => {
        anchor.value = null;
      }}
      onPointerMove={(e) => {
        byKey.value = false;
        point(cellAt(e));
      }}
      onPointerLeave={() => {
        if (anchor.value === null) point(null);
      }}
    >
      <canvas ref={canvas} />
      {drawn !== null && (
        <i
          class="heat-box"
          style={{
            transform: `translate(${LEFT + plot * drawn.left}px, ${TOP + high * (1 - drawn.top)}px)`,
            width: `${plot * (drawn.right - drawn.left)}px`,
            height: `${high * (drawn.top - drawn.bottom)}px`,
          }}
        />
      )}
      {second !== null && second >= from && second < to && (
        <i
          class="heat-x"
          style={{
            transform: `translateX(${Math.round(xOf(second))}px)`,
            top: `${TOP}px`,
            height: `${high}px`,
          }}
        />
      )}
      {cell !== null && (
        <i
          class="heat-at"
          style={{
            transform: `translate(${left}px, ${y(cell.row + 1)}px)`,
            width: `${x(cell.column + 1) - left}px`,
            height: `${y(cell.row) - y(cell.row + 1)}px`,
          }}
        />
      )}
      {cell !== null && words !== null && (
        <div
          class="tip heat-tip"
          role="tooltip"
          style={{
            transform: `translate(${Math.round(left + 16 + TIP <= width.value ? left + 16 : Math.max(0, left - TIP - 8))}px, ${Math.round(Math.min(y(cell.row + 1), height - 76))}px)`,
          }}
        >
          <p class="tip-h">{words.bounds}</p>
          <p>{words.amount}</p>
          <p class="mute">{words.time}</p>
        </div>
      )}
      <p class="sr" aria-live="polite">
        {byKey.value && words !== null ? `${words.bounds}: ${words.amount}, ${words.time}` : ""}
      </p>
    </div>
  );
}

/** Two cells and all between them, as parts of the picture. */
function between(a: Cell, b: Cell, rows: number, columns: number): NonNullable<ReturnType<typeof placeOf>> {
  return {
    left: Math.min(a.column, b.column) / columns,
    right: (Math.max(a.column, b.column) + 1) / columns,
    bottom: Math.min(a.row, b.row) / rows,
    top: (Math.max(a.row, b.row) + 1) / rows,
  };
}

function cellWords(
  { rows, columns, cells, step }: Heat,
  { row, column }: Cell,
  bounds: Props["bounds"],
  amount: Props["amount"],
): { bounds: string; amount: string; time: string } {
  const tick = columns[column]?.tick ?? 0;
  const value = cells[row]?.[column];
  const over = (columns.at(-1)?.tick ?? 0) - (columns[0]?.tick ?? 0);
  const { seconds = 0, secondsExpected } = columns[column] ?? {};
  const partly =
    secondsExpected && seconds < secondsExpected ? `, ${seconds} of ${secondsExpected} s with data` : "";
  const name = (t: number) => clockWithin(t, over, step);
  return {
    bounds: bounds(rows[row] as Heat["rows"][number]),
    amount: value === null || value === undefined ? "no data" : amount(value),
    time: `${step === 1 ? name(tick) : `${name(tick)} to ${name(tick + step)}`}${value === null ? "" : partly}`,
  };
}

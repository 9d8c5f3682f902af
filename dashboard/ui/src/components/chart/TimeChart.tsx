/** A time chart with its live legend, common crosshair, drag zoom and table. */
import { effect, useComputed, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Column } from "../../api/columns";
import type { PastView } from "../../api/past";
import type { LiveView } from "../../api/view";
import { dated, known, lengthInWords, type Quantity, text } from "../../lib/format";
import { cancel, schedule } from "../../lib/scheduler";
import {
  cursor,
  hover,
  pan,
  pin,
  pinned,
  range,
  resume,
  stepCursor,
  zoom,
  zoomTo,
} from "../../state/timeline";
import { FIRST_SECOND, lackBriefly } from "../words";
import { ChartCore, chartInputs } from "./core";
import { usePast } from "./past";
import { type ChartSpec, type ChartView, LEFT, type Reading, type Reference, type Series } from "./spec";
import { TimeTable } from "./TimeTable";

interface Props {
  view: ChartView & Pick<LiveView, "nodeId" | "group">;
  /** The view follows the range of the page by itself. */
  ranged?: boolean;
  /** What the chart shows, for its sentence. */
  title: string;
  series: readonly Series[];
  stacked?: boolean;
  height: number;
  left?: number;
  axis: (v: number) => string;
  value: (v: number) => Quantity;
  scale?: number;
  unit?: (max: number) => number;
  max?: number;
  references?: readonly Reference[];
  /** False leaves the legend out, where a panel says the value already. */
  legend?: boolean;
  /** Adds the sum of all series to the legend. */
  totalColumn?: Column;
  /** Said when nothing in the window has a value. */
  empty: ComponentChildren;
  /** Shows the values as a table instead. */
  table?: boolean;
  noDataLabel?: boolean;
}

const NO_REFERENCES: readonly Reference[] = [];

/** A chart off the screen is drawn less often, milliseconds: what a tall picture of the page shows is never older. */
const OFF_SCREEN_EVERY_MS = 5000;

export function TimeChart(props: Props) {
  const { title, series, height, left = LEFT, scale = 1, value } = props;
  const total = props.totalColumn;
  const columns = [...series.map((s) => s.column), ...(total ? [total] : [])];
  const before = usePast(props.view, columns, props.ranged ?? false);
  const view: ChartView = before ?? props.view;
  const host = useRef<HTMLDivElement>(null);
  const core = useRef<ChartCore | null>(null);
  const hidden = useSignal<ReadonlySet<string>>(new Set());
  const readings = useSignal<readonly Reading[]>([]);
  const sentence = useSignal(title);
  // Nothing is said to be absent before a draw that followed the first data.
  const drawnReady = useSignal(false);
  const band = useSignal<{ left: number; width: number } | null>(null);
  const drag = useRef<{ x: number; second: number; pan: boolean } | null>(null);

  const spec: ChartSpec = {
    series,
    stacked: props.stacked ?? false,
    scale,
    axis: props.axis,
    value,
    unit: props.unit ?? (() => 1),
    max: props.max,
    references: props.references ?? NO_REFERENCES,
    hidden: hidden.value,
    noDataLabel: props.noDataLabel ?? false,
    total,
  };
  const latest = useRef(spec);
  latest.current = spec;
  const repaint = useMemo(() => ({ run: () => {} }), []);

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const chart = new ChartCore(element, view, latest.current, height, left);
    core.current = chart;
    const crosshair = {};
    let visible = true;
    let dirty = false;
    let drawnAt = Number.NEGATIVE_INFINITY;

    const publish = () => {
      readings.value = chart.readings.map((r) => ({ ...r }));
      sentence.value = describe(title, chart, latest.current);
      drawnReady.value = view.status.peek() !== "loading";
    };
    const drawNow = () => {
      dirty = false;
      if (view.status.peek() === "ready") drawnAt = performance.now();
      chart.configure(latest.current);
      chart.draw();
      publish();
    };
    const draw = () => {
      dirty = !visible && performance.now() - drawnAt < OFF_SCREEN_EVERY_MS;
      if (!dirty) drawNow();
    };
    // A taller window or a sheet of paper shows what was off the screen.
    const catchUp = () => {
      if (dirty) schedule(chart, drawNow);
    };
    const beforePrint = () => {
      if (dirty) drawNow();
    };
    repaint.run = () => schedule(chart, draw);
    window.addEventListener("resize", catchUp);
    window.addEventListener("beforeprint", beforePrint);
    const stopData = effect(() => {
      view.version.value;
      chartInputs();
      repaint.run();
    });
    const stopCursor = effect(() => {
      cursor.value;
      schedule(crosshair, () => {
        chart.drawCursor();
        publish();
      });
    });
    const resize = new ResizeObserver(() => schedule(chart, drawNow));
    resize.observe(element);
    const seen = new IntersectionObserver(
      (entries) => {
        // Several changes may come at once; the last one holds.
        visible = entries.at(-1)?.isIntersecting ?? true;
        if (visible) catchUp();
      },
      { rootMargin: "200px" },
    );
    seen.observe(element);
    // Text on canvas needs the font; it is there by then or the fallback is replaced.
    document.fonts?.ready.then(() => repaint.run());
    return () => {
      stopData();
      stopCursor();
      window.removeEventListener("resize", catchUp);
      window.removeEventListener("beforeprint", beforePrint);
      resize.disconnect();
      seen.disconnect();
      cancel(chart);
      cancel(crosshair);
      chart.destroy();
      core.current = null;
    };
  }, [view, height, left, series.length, props.table]);

  // Not after every render: a draw publishes readings, which render the legend.
  useEffect(() => repaint.run(), [hidden.value, props.references, props.stacked, props.max]);

  const anything = useComputed(() => readings.value.some((r) => r.any));
  const shown = readings.value.filter((r) => r.any);

  const isolate = (column: string, only: boolean) => {
    const all = shown.map((r) => r.series.column);
    const now = hidden.value;
    const alone = all.filter((c) => !now.has(c));
    if (!only) {
      const next = new Set(now);
      if (!next.delete(column)) next.add(column);
      hidden.value = next.size >= all.length ? new Set() : next;
    } else if (alone.length === 1 && alone[0] === column) hidden.value = new Set();
    else hidden.value = new Set(all.filter((c) => c !== column));
  };

  const at = cursor.value ?? view.shown.newest;
  return (
    <>
      {props.legend !== false && (
        <div class="lg">
          {shown.map((r) => (
            <button
              type="button"
              key={r.series.column}
              aria-pressed={!hidden.value.has(r.series.column)}
              title="Click: only this one. Shift-click: hide or show"
              onClick={(e) => isolate(r.series.column, !e.shiftKey)}
            >
              <i
                class={props.stacked ? "sw" : r.series.dash ? "sw ln dashed" : "sw ln"}
                style={
                  r.series.dash
                    ? { color: `var(--${r.series.color})`, "--dash": `${r.series.dash[0]}px` }
                    : { backgroundColor: `var(--${r.series.color})` }
                }
              />
              {r.series.label} <b>{text(value(r.value))}</b>
            </button>
          ))}
          {total !== undefined && anything.value && (
            <span class="k">
              Total <b>{text(value(view.shown.get(total, at) * scale))}</b>
            </span>
          )}
          {/* Its line is kept, so that nothing moves when values come. */}
          {!anything.value && <span class="k">&nbsp;</span>}
        </div>
      )}
      {props.table ? (
        <TimeTable
          title={title}
          view={view}
          series={shown.map((r) => r.series)}
          scale={scale}
          value={value}
          height={height}
        />
      ) : (
        <div class="ch-box">
          <div
            class="ch"
            style={{ height: `${height}px` }}
            role="img"
            aria-label={sentence.value}
            // biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys move the common crosshair
            tabIndex={0}
            onKeyDown={(e) => {
              if (e.key === "ArrowLeft" || e.key === "ArrowRight") {
                e.preventDefault();
                stepCursor((e.key === "ArrowLeft" ? -1 : 1) * (e.shiftKey ? 10 : 1));
              } else if (e.key === "Enter") pin(pinned.value === null ? cursor.value : null);
            }}
            onBlur={() => {
              hover.value = null;
            }}
            onPointerMove={(e) => {
              const c = core.current;
              if (!c) return;
              const second = c.secondAt(e.clientX);
              const d = drag.current;
              if (d?.pan) {
                pan(d.second - second);
              } else if (d && Math.abs(e.clientX - d.x) > 4) {
                const box = (host.current as HTMLElement).getBoundingClientRect();
                const a = Math.max(left, Math.min(d.x, e.clientX) - box.left);
                const b = Math.min(box.width - 12, Math.max(d.x, e.clientX) - box.left);
                band.value = { left: a, width: Math.max(0, b - a) };
              }
              hover.value = second;
            }}
            onPointerLeave={() => {
              if (!drag.current) hover.value = null;
            }}
            onPointerDown={(e) => {
              const c = core.current;
              if (!c || e.button !== 0 || e.pointerType === "touch") return;
              drag.current = { x: e.clientX, second: c.secondAt(e.clientX), pan: e.shiftKey };
              (e.currentTarget as HTMLElement).setPointerCapture(e.pointerId);
            }}
            onPointerUp={(e) => {
              const c = core.current;
              const d = drag.current;
              drag.current = null;
              band.value = null;
              if (!c) return;
              const second = c.secondAt(e.clientX);
              if (d && !d.pan && Math.abs(e.clientX - d.x) > 4) {
                zoomTo(Math.min(d.second, second), Math.max(d.second, second));
              } else if (!d?.pan) pin(pinned.value === second ? null : second);
            }}
            onPointerCancel={() => {
              drag.current = null;
              band.value = null;
            }}
            onDblClick={() => {
              pin(null);
              if (zoom.value) resume();
            }}
          >
            <div class="ch-plot" ref={host} />
            {band.value && (
              <div class="band" style={{ left: `${band.value.left}px`, width: `${band.value.width}px` }} />
            )}
            {before !== null && anything.value && <PastNote view={before} />}
          </div>
          {!anything.value && (drawnReady.value || before !== null) && (
            <p class="ch-empty">
              {before !== null
                ? (before.problem.value ?? emptyPast(before, props.empty))
                : (lackBriefly.value ?? (view.status.value === "empty" ? FIRST_SECOND : props.empty))}
            </p>
          )}
        </div>
      )}
    </>
  );
}

/** What is said below a chart of the past that lacks something. */
function PastNote({ view }: { view: PastView }) {
  const { firstData, missing = [] } = view.completeness.value ?? {};
  const problem = view.problem.value;
  const lacks = missing.map((part) => `without ${part.aggregatorId ?? "a part"}: ${part.reason}`);
  if (problem !== null) lacks.unshift(`not read again: ${problem}`);
  if (firstData) lacks.push(`data from ${dated(Date.parse(firstData) / 1000)} on`);
  return lacks.length === 0 ? null : <p class="ch-note">{lacks.join("; ")}</p>;
}

/** Why a part of the past is empty. */
function emptyPast(view: PastView, usual: ComponentChildren): ComponentChildren {
  if (view.status.value === "loading") return "Reading.";
  const complete = view.completeness.value;
  if (complete !== null && complete.seconds > 0) return usual;
  return "No history in this time: it begins with the first second that an aggregator stored.";
}

function describe(title: string, chart: ChartCore, spec: ChartSpec): string {
  const there = chart.readings.filter((r) => r.any);
  if (there.length === 0) return `${title}: no data`;
  const { from, to } = range.peek();
  const values = there.map((r) => `${r.series.label} ${text(spec.value(r.value))}`).join(", ");
  const peak = known(chart.peak) ? `, peak ${text(spec.value(chart.peak * spec.scale))}` : "";
  return `${title} over ${lengthInWords(to - from + 1)}: ${values}${peak}`;
}

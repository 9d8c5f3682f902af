/** A line over a range of its own, with the band between the smallest and the largest second of each point. */
import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { clockMinute, clockWithin, dayOrMinute } from "../lib/format";
import { polyline, runs } from "../lib/polyline";
import { niceTicks, timeTicks } from "../lib/ticks";
import { BOTTOM, LEFT, RIGHT, TOP } from "./chart/spec";
import { useWidth } from "./useWidth";

type Values = readonly (number | null)[];

interface Props {
  /** First second of each point. */
  ticks: readonly number[];
  step: number;
  values: Values;
  low: Values;
  high: Values;
  /** What it was in an earlier time, drawn beside it. */
  before?: Values;
  average: number | null;
  /** Highest value and its second. */
  peak: { at: number; value: number } | null;
  /** A line across, with words. */
  limit?: { at: number; text: string } | null;
  /** A second that is marked. */
  since?: number;
  height: number;
  axis: (v: number) => string;
  read: (v: number) => string;
  unit: ((max: number) => number) | undefined;
  /** Top of the axis when it is fixed. */
  max: number | undefined;
  sentence: string;
}

const LABEL_ROOM = 95;
const DAY = 86_400 - 1;

export function TrendChart({
  ticks,
  step,
  values,
  low,
  high,
  before,
  average,
  peak,
  limit: across = null,
  since,
  height,
  axis,
  read,
  unit,
  max,
  sentence,
}: Props) {
  const host = useRef<HTMLDivElement>(null);
  const width = useWidth(host);
  const at = useSignal<number | null>(null);
  const byKey = useSignal(false);

  const from = ticks[0] ?? 0;
  const to = (ticks.at(-1) ?? 0) + step;
  const plot = Math.max(1, width.value - LEFT - RIGHT);
  const tall = height - TOP - BOTTOM;
  const known = [...values, ...high, ...(before ?? [])].filter((v): v is number => v !== null);
  const highest = Math.max(0, ...known, peak?.value ?? 0, across?.at ?? 0);
  const limit = max ?? highest * 1.04;
  const marks = niceTicks(limit, 3, unit?.(limit) ?? 1);
  const top = marks.at(-1) as number;
  const xOf = (second: number) => LEFT + (plot * (second - from)) / Math.max(1, to - from);
  const x = (i: number) => xOf(ticks[i] ?? 0);
  const y = (v: number) => TOP + tall * (1 - v / top);
  const path = (points: readonly number[], start: "M" | "L") =>
    points.reduce(
      (d, v, i) => d + (i % 2 === 0 ? `${i === 0 ? start : "L"}${v.toFixed(1)},` : `${v.toFixed(1)}`),
      "",
    );
  const line = runs(values)
    .map(([a, b]) => {
      const p = polyline(values, a, b, x, y);
      // A point alone has a length, or it would not be seen.
      return path(p.length === 2 ? [...p, (p[0] as number) + 1.5, p[1] as number] : p, "M");
    })
    .join("");
  const earlier = runs(before ?? [])
    .map(([a, b]) => path(polyline(before ?? [], a, b, x, y), "M"))
    .join("");
  const band = runs(high)
    .map(([a, b]) => {
      const below = polyline(low, a, b, x, y);
      const back: number[] = [];
      for (let i = below.length - 2; i >= 0; i -= 2) back.push(below[i] as number, below[i + 1] as number);
      return `${path(polyline(high, a, b, x, y), "M")}${path(back, "L")}Z`;
    })
    .join("");
  const first = values.findIndex((v) => v !== null);
  const gaps = first < 0 ? [] : runs(values.map((v, i) => (i > first && v === null ? 0 : null)));
  const times = timeTicks(from, to, Math.max(2, Math.floor(plot / LABEL_ROOM)));
  const timeText = to - from >= DAY ? dayOrMinute : clockMinute;

  // Another range may have fewer points.
  const index = at.value === null || values.length === 0 ? null : Math.min(at.value, values.length - 1);
  const value = index === null ? null : (values[index] ?? null);
  const move = (next: number) => {
    at.value = Math.min(values.length - 1, Math.max(0, next));
  };
  const words =
    index === null ? "" : `${clockWithin(ticks[index] ?? 0, to - from, step)}: ${pointWords(index)}`;
  function pointWords(i: number): string {
    const v = values[i] ?? null;
    const was = before?.[i] ?? null;
    const then = was === null ? "" : `; the period before ${read(was)}`;
    if (v === null) return `no data${then}`;
    const [a, b] = [low[i] ?? null, high[i] ?? null];
    const band = a === null || b === null || step === 1 ? "" : `, between ${read(a)} and ${read(b)}`;
    return read(v) + band + then;
  }
  return (
    <div
      class="trend-chart"
      ref={host}
      style={{ height: `${height}px` }}
      role="img"
      aria-label={`${sentence}. Arrow keys read single points`}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys read single points
      tabIndex={0}
      onKeyDown={(e) => {
        const by = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
        if (by === undefined) return;
        e.preventDefault();
        byKey.value = true;
        move(Math.min(at.value ?? values.length, values.length - 1) + by * (e.shiftKey ? 10 : 1));
      }}
      onBlur={() => {
        at.value = null;
      }}
      onPointerMove={(e) => {
        const box = (host.current as HTMLElement).getBoundingClientRect();
        byKey.value = false;
        move(Math.floor(((e.clientX - box.left - LEFT) / plot) * values.length));
      }}
      onPointerLeave={() => {
        at.value = null;
      }}
    >
      {width.value > 80 && (
        <svg width={width.value} height={height} aria-hidden="true">
          <defs>
            <pattern
              id="trend-gap"
              width="6"
              height="6"
              patternUnits="userSpaceOnUse"
              patternTransform="rotate(45)"
            >
              <line class="trend-hatch" x1="0" y1="0" x2="0" y2="6" />
            </pattern>
          </defs>
          {marks.map((v) => (
            <g key={v}>
              <line
                class={v === 0 ? "trend-ground" : "trend-grid"}
                x1={LEFT}
                x2={LEFT + plot}
                y1={y(v)}
                y2={y(v)}
              />
              <text x={LEFT - 7} y={y(v) + 4} text-anchor="end">
                {known.length === 0 && v > 0 ? "" : axis(v)}
              </text>
            </g>
          ))}
          {times
            .filter((t) => xOf(t) <= LEFT + plot - 4)
            .map((t) => (
              <text key={t} x={xOf(t)} y={height - 5} text-anchor="middle">
                {timeText(t)}
              </text>
            ))}
          {gaps.map(([a, b]) => (
            <rect
              key={a}
              x={x(a)}
              y={TOP}
              width={Math.max(2, xOf((ticks[b - 1] ?? 0) + step) - x(a))}
              height={tall}
              fill="url(#trend-gap)"
            />
          ))}
          <path class="trend-band" d={band} />
          {average !== null && (
            <line class="trend-average" x1={LEFT} x2={LEFT + plot} y1={y(average)} y2={y(average)} />
          )}
          {earlier !== "" && <path class="trend-before" d={earlier} />}
          <path class="trend-line" d={line} />
          {across !== null && (
            <g class="trend-limit">
              <line x1={LEFT} x2={LEFT + plot} y1={y(across.at)} y2={y(across.at)} />
              <text x={LEFT + plot} y={y(across.at) + (y(across.at) > TOP + 14 ? -4 : 13)} text-anchor="end">
                {across.text}
              </text>
            </g>
          )}
          {since !== undefined && since >= from && since < to && (
            <line class="trend-since" x1={xOf(since)} x2={xOf(since)} y1={TOP} y2={TOP + tall} />
          )}
          {peak !== null && peak.at >= from && peak.at < to && (
            <circle class="trend-peak" cx={xOf(peak.at)} cy={y(peak.value)} r="3.5" />
          )}
          {index !== null && <line class="trend-at" x1={x(index)} x2={x(index)} y1={TOP} y2={TOP + tall} />}
          {index !== null && value !== null && (
            <circle class="trend-dot" cx={x(index)} cy={y(value)} r="3.5" />
          )}
        </svg>
      )}
      {index !== null && (
        <div
          class="tip trend-tip"
          role="tooltip"
          style={{
            transform: `translate(${Math.round(x(index) > width.value / 2 ? x(index) - 190 : x(index) + 12)}px, 8px)`,
          }}
        >
          {words}
        </div>
      )}
      <p class="sr" aria-live="polite">
        {byKey.value ? words : ""}
      </p>
    </div>
  );
}

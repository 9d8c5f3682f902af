/** The latency of the last minute as bars on a log axis, with its percentiles marked. */
import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { Distribution } from "../gen/starling/live/v1/live_pb";
import type { Latency } from "../gen/starling/v1/cluster_pb";
import { textWidth } from "../lib/canvas";
import { axisCount, axisMicros, grouped, micros, microsWithin, percent, plural, text } from "../lib/format";
import { spread } from "../lib/labels";
import { niceTicks } from "../lib/ticks";
import { useWidth } from "./useWidth";

const HEIGHT = 176;
const LEFT = 34;
const RIGHT = 6;
const TOP = 34;
const BOTTOM = 20;
/** Requests from which one in a thousand is told from the slowest. */
const RARE_FROM = 1_000;
/** Free pixels at each side of a label. */
const LABEL_MARGIN = 6;

interface Props {
  distribution: Distribution;
  latency: Latency;
}

export function Histogram({ distribution, latency }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const width = useWidth(host);

  const { bounds, counts } = distribution;
  const pw = width.value - LEFT - RIGHT;
  const ph = HEIGHT - TOP - BOTTOM;
  const said = (v: number) => text(microsWithin(v, latency.errorBoundPpm));
  const marks = merged(
    [
      ["p50", latency.p50Micros],
      ["p95", latency.p95Micros],
      ["p99", latency.p99Micros],
      // Of fewer it is the slowest one by another name.
      ...(latency.count >= RARE_FROM ? [["p99.9", latency.p999Micros] as const] : []),
    ],
    said,
  );
  const at = useSignal<number | null>(null);
  const sentence = `Latency of the last 60 seconds: ${marks.map(([n, v]) => `${n} ${said(v)}`).join(", ")}`;
  // Room for the rarest requests to the right and round powers at both ends.
  const low = Math.log10(Math.max(0.001, bounds[0] ?? 1)) - 0.1;
  const high =
    Math.log10(Math.max(bounds[bounds.length - 1] ?? 10, latency.p999Micros * 1.2, 10 ** (low + 1))) + 0.05;
  const x = (v: number) => LEFT + (pw * (Math.log10(Math.max(v, 10 ** low)) - low)) / (high - low);
  const ticks = niceTicks(Math.max(1, ...counts), 2);
  const top = ticks[ticks.length - 1] as number;
  const y = (n: number) => TOP + ph * (1 - n / top);
  const powers: number[] = [];
  for (let e = Math.ceil(low - 1e-9); e <= high + 1e-9; e++) powers.push(10 ** e);
  const labels = placeLabels(
    marks.map(([name, v]) => ({ name, x: x(v), value: said(v) })),
    width.value,
  );

  return (
    <div
      class="ch"
      ref={host}
      style={{ height: `${HEIGHT}px` }}
      onPointerMove={(e) => {
        const px = e.clientX - (host.current as HTMLElement).getBoundingClientRect().left;
        const i = counts.findIndex((_, i) => px >= x(bounds[i] ?? 0) && px < x(bounds[i + 1] ?? 0));
        at.value = i < 0 ? null : i;
      }}
      onPointerLeave={() => {
        at.value = null;
      }}
    >
      {width.value > 60 && (
        <svg height={HEIGHT} viewBox={`0 0 ${width.value} ${HEIGHT}`} role="img" aria-label={sentence}>
          {ticks.map((t, i) => (
            <g key={t}>
              <line
                x1={LEFT}
                x2={width.value - RIGHT}
                y1={Math.round(y(t))}
                y2={Math.round(y(t))}
                class={i ? "gl" : "ax"}
              />
              <text x={LEFT - 6} y={Math.round(y(t)) + 4} text-anchor="end">
                {axisCount(t)}
              </text>
            </g>
          ))}
          {counts.map((n, i) => {
            const a = x(bounds[i] as number);
            const b = x(bounds[i + 1] as number);
            return n > 0 ? (
              <rect
                key={bounds[i]}
                x={a + 0.5}
                width={Math.max(1, b - a - 1)}
                // A single request must stay visible beside a million.
                y={Math.min(y(n), TOP + ph - 1)}
                height={Math.max(1, TOP + ph - y(n))}
                class="hist-bar"
              />
            ) : null;
          })}
          {labels.map((l) => (
            <line key={l.name} x1={l.at} x2={l.at} y1={l.y + 4} y2={TOP + ph} class="ref" />
          ))}
          {labels.map((l) => (
            <text key={l.name} x={l.textX} y={l.y} text-anchor="middle" class="mid halo">
              {l.name} {l.value}
            </text>
          ))}
          {powers.map((p) => (
            <text
              key={p}
              // The last one stays within.
              x={Math.min(Math.max(LEFT, x(p)), width.value - textWidth(axisMicros(p), 11) / 2)}
              y={HEIGHT - 4}
              text-anchor="middle"
            >
              {axisMicros(p)}
            </text>
          ))}
        </svg>
      )}
      {at.value !== null && (counts[at.value] ?? 0) > 0 && (
        <div
          class="tip hist-tip"
          role="tooltip"
          style={{
            transform: `translate(${Math.round(Math.min(x(bounds[at.value] ?? 0) + 12, width.value - 170))}px, ${TOP}px)`,
          }}
        >
          {bucketText(distribution, at.value)}
        </div>
      )}
    </div>
  );
}

/** "1.0 ms to 1.2 ms: 4,210 requests, 5.1%". */
export function bucketText({ bounds, counts }: Pick<Distribution, "bounds" | "counts">, i: number): string {
  const all = counts.reduce((a, b) => a + b, 0);
  const [a, b, n] = [bounds[i] ?? 0, bounds[i + 1] ?? 0, counts[i] ?? 0];
  return `${text(micros(a))} to ${text(micros(b))}: ${plural(n, "request")}, ${text(percent(n / all))}`;
}

/** The same as a table, the fastest first. */
export function HistogramTable({ distribution: { bounds, counts } }: Pick<Props, "distribution">) {
  const all = counts.reduce((a, b) => a + b, 0);
  let below = 0;
  return (
    <section
      class="scroll"
      style={{ height: `${HEIGHT}px` }}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
      tabIndex={0}
      aria-label="Latency distribution, table"
    >
      <table class="t">
        <thead>
          <tr>
            <th scope="col">Latency up to</th>
            <th scope="col">Requests</th>
            <th scope="col">Share</th>
            <th scope="col">So far</th>
          </tr>
        </thead>
        <tbody>
          {counts.map((n, i) => {
            below += n;
            return n === 0 ? null : (
              <tr key={bounds[i]}>
                <td>{text(micros(bounds[i + 1]))}</td>
                <td>{grouped(n)}</td>
                <td>{text(percent(n / all))}</td>
                <td>{text(percent(below / all))}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

type Percentile = readonly [name: string, value: number];

/** Percentiles that read the same are one mark: "p50, p95". */
export function merged(marks: readonly Percentile[], said: (v: number) => string): Percentile[] {
  const out: [string, number][] = [];
  for (const [name, value] of marks) {
    const last = out.at(-1);
    if (last && said(last[1]) === said(value)) last[0] = `${last[0]}, ${name}`;
    else out.push([name, value]);
  }
  return out;
}

interface Mark {
  name: string;
  x: number;
  value: string;
}

/** Labels in two rows by turns, moved aside where they would run over a neighbour or the edge. */
function placeLabels(marks: readonly Mark[], width: number) {
  const labels = marks.map((m, k) => {
    const half = textWidth(`${m.name} ${m.value}`, 11) / 2 + LABEL_MARGIN;
    return { ...m, half, at: Math.round(m.x) + 0.5, textX: m.x, y: k % 2 === 0 ? 10 : 24 };
  });
  for (const y of [10, 24]) {
    const row = labels.filter((l) => l.y === y);
    const middles = spread(row, width);
    row.forEach((l, i) => {
      l.textX = middles[i] as number;
    });
  }
  return labels;
}

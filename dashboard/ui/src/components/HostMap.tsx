/** Every node as a cell on one canvas, grouped by labels. Silent nodes stay, hatched. */
import { effect, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Fleet } from "../api/fleet";
import type { Breach } from "../lib/breach";
import { font, hatch, prepare } from "../lib/canvas";
import { luminance, onRamp, type Rgb } from "../lib/color";
import { rate, text, wholePercent } from "../lib/format";
import { type Cell, cellAt, type Layout, layout, moveFrom } from "../lib/hostmap";
import { labelOf, type NodeRow } from "../lib/nodes";
import { cancel, schedule } from "../lib/scheduler";
import { fresh } from "../state/page";
import { navigate, nodeHref } from "../state/router";
import { ramp, theme, token } from "../state/theme";
import { ABSENT, FILLS, type Fill, fillMax, fillText } from "./fills";
import { NodeTip } from "./NodeTip";
import { useWidth } from "./useWidth";
import { stateText } from "./words";

/** True when the cell can be coloured. */
function hasValue(row: NodeRow, fill: Fill): boolean {
  return row.state === "reporting" && !Number.isNaN(row[fill]);
}

/** What a cell says: its value, or why it has none. A node that reports and serves nothing is not a silent one. */
function cellText(row: NodeRow, fill: Fill): string {
  if (row.state !== "reporting") return stateText(row);
  return Number.isNaN(row[fill]) ? ABSENT[fill] : fillText(fill, row[fill]);
}

interface Props {
  fleet: Fleet;
  fill: Fill;
  by: GroupBy;
  /** Nodes that something open is about. */
  breaches: ReadonlyMap<string, Breach>;
}

/** How nodes are grouped: by the values of one label, and within them by those of another. Empty keys group nothing. */
export interface GroupBy {
  group: string;
  part: string;
}

export function HostMap({ fleet, fill, by, breaches }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(host);
  const active = useSignal<number | null>(null);
  const focused = useSignal(0);
  const place = useRef<{ key: string; layout: Layout }>({ key: "", layout: layout([], 0) });

  const { rows } = fleet;
  const key = `${width.value}/${fleet.dictionaryVersion}/${rows.length}/${by.group}/${by.part}/${fleet.part ?? ""}`;
  if (place.current.key !== key) {
    const places = rows.map((r) => ({ group: labelOf(r, by.group), part: labelOf(r, by.part) }));
    place.current = { key, layout: layout(places, width.value) };
  }
  const { cells, height, groups, parts, tiles } = place.current.layout;
  const max = fillMax(fill, rows);
  // Where most are replays the note of the panel says it for all.
  const marked = rows.filter((row) => row.simulated).length * 2 <= rows.length;

  const draw = () => {
    const g = canvas.current && prepare(canvas.current, width.peek(), height);
    if (!g) return;
    const table = ramp.peek();
    const colors = {
      hatch: token("hatch"),
      line: token("line-2"),
      text3: token("text-3"),
      text2: token("text-2"),
      flat: token("surface-2"),
      critical: token("crit-f"),
      warning: token("warn-f"),
      ground: token("surface"),
    };
    g.globalAlpha = fresh.peek() === "fresh" ? 1 : 0.62;
    for (const cell of cells) {
      const row = rows[cell.index] as NodeRow;
      const { x, y, w, h } = cell;
      const radius = Math.min(3, w / 4);
      g.beginPath();
      g.roundRect(x, y, w, h, radius);
      if (row.state === "reporting") {
        const color = hasValue(row, fill) ? onRamp(table, row[fill] / max) : colors.flat;
        g.fillStyle = color;
        g.fill();
        if (tiles) tileText(g, cell, row, fill, marked, hasValue(row, fill) ? inkOn(color) : colors.text2);
        const breach = row.clash ? "critical" : breaches.get(row.id);
        if (breach === "critical") ring(g, cell, colors.critical, colors.ground, radius);
        else if (breach) ring(g, cell, colors.warning, null, radius);
        continue;
      }
      g.strokeStyle = row.state === "silent" ? colors.hatch : colors.line;
      g.lineWidth = 1;
      g.save();
      g.clip();
      if (row.state !== "stopped")
        hatch(g, colors.hatch, x, y, w, h, Math.min(6, w / 2), Math.min(1.2, w / 8));
      g.restore();
      // The hatch has a path of its own. Half of a line lies outside of it, so the border is drawn inside.
      g.beginPath();
      g.roundRect(x + 0.5, y + 0.5, w - 1, h - 1, radius);
      g.stroke();
      if (row.state === "stopped") {
        g.fillStyle = colors.text3;
        const dash = Math.min(8, w / 2);
        g.fillRect(x + (w - dash) / 2, y + h / 2 - 1, dash, Math.min(2, h / 4));
      }
      if (tiles) tileText(g, cell, row, fill, marked, colors.text2, true);
    }
    g.globalAlpha = 1;
    g.fillStyle = colors.text3;
    g.font = font(11);
    for (const r of parts) g.fillText(r.text, r.x, r.y);
    for (const z of groups) {
      if (z.name === "" && groups.length === 1) continue;
      g.font = font(12, 500);
      g.fillStyle = colors.text2;
      const name = z.name === "" ? `no ${by.group}` : `${by.group} ${z.name}`;
      g.fillText(name, z.x, z.y);
      const values = z.members.map((i) => rows[i] as NodeRow).filter((r) => hasValue(r, fill));
      if (values.length === 0 || fill === "p99") continue;
      const sum = values.reduce((a, r) => a + r[fill], 0);
      const share = fill === "cpu" || fill === "memory";
      g.font = font(11);
      g.fillStyle = colors.text3;
      const beside = width.peek() >= 520;
      g.fillText(
        share ? `${wholePercent(sum / values.length)} mean` : text(rate(sum)),
        beside ? z.x : z.x + 70,
        beside ? z.y + 15 : z.y,
      );
    }
  };
  const latest = useRef(draw);
  latest.current = draw;

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const again = () => latest.current();
    const stop = effect(() => {
      theme.value;
      fresh.value;
      schedule(element, again);
    });
    document.fonts?.ready.then(() => schedule(element, again));
    return () => {
      stop();
      cancel(element);
    };
  }, []);
  useEffect(() => {
    if (host.current) schedule(host.current, () => latest.current());
  });

  const at = active.value === null ? undefined : cells[active.value];
  const row = at && rows[at.index];
  const stand = cells[Math.min(focused.value, cells.length - 1)];
  const standing = stand && rows[stand.index];
  return (
    <div class="hm">
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the pointer's shortcut to the link below */}
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: the link below takes the keys */}
      <div
        ref={host}
        class="hm-plot"
        style={{ height: `${height}px` }}
        onPointerMove={(e) => {
          const box = (e.currentTarget as HTMLElement).getBoundingClientRect();
          active.value = cellAt(cells, e.clientX - box.left, e.clientY - box.top);
        }}
        onPointerLeave={() => {
          active.value = null;
        }}
        onClick={(e) => {
          const box = (e.currentTarget as HTMLElement).getBoundingClientRect();
          const k = cellAt(cells, e.clientX - box.left, e.clientY - box.top);
          const target = k === null ? undefined : rows[cells[k]?.index ?? -1];
          if (target) navigate(nodeHref(target.id));
        }}
      >
        <canvas ref={canvas} />
        {stand && standing && (
          <a
            class="hm-focus"
            href={nodeHref(standing.id)}
            style={{
              left: `${stand.x}px`,
              top: `${stand.y}px`,
              width: `${stand.w}px`,
              height: `${stand.h}px`,
            }}
            onKeyDown={(e) => {
              const next = moveFrom(cells, focused.value, e.key);
              if (!e.key.startsWith("Arrow") && e.key !== "Home" && e.key !== "End") return;
              e.preventDefault();
              focused.value = next;
              active.value = next;
            }}
            onFocus={() => {
              active.value = focused.value;
            }}
            onBlur={() => {
              active.value = null;
            }}
          >
            <span class="sr">
              {describe(standing, fill, breaches)}. Arrow keys move between {cells.length} nodes, Enter opens
            </span>
          </a>
        )}
        {at && (
          <div
            class="hm-over"
            style={{ transform: `translate(${at.x}px, ${at.y}px)`, width: `${at.w}px`, height: `${at.h}px` }}
          />
        )}
        {at && row && <NodeTip row={row} by={by} x={at.x + at.w} y={at.y} width={width.value} left={at.x} />}
        <p class="sr" aria-live="polite">
          {at && row && active.value === focused.value ? describe(row, fill, breaches) : ""}
        </p>
      </div>
      <div class="ramp">
        <span>{FILLS.find(([f]) => f === fill)?.[1]}</span>
        <span>0</span>
        <span class="ramp-bar" />
        <span>{fill === "cpu" || fill === "memory" ? "100%" : fillText(fill, max)}</span>
        <span class="k">
          <i class="sw-hatch" />
          silent
        </span>
        {rows.some((r) => r.state === "reporting" && !hasValue(r, fill)) && (
          <span class="k">
            <i class="sw-flat" />
            {ABSENT[fill]}
          </span>
        )}
        {(["critical", "warning"] as const).map(
          (breach) =>
            rows.some((row) => breaches.get(row.id) === breach) && (
              <span class="k" key={breach}>
                <i class={`sw-ring ${breach}`} />
                {breach}
              </span>
            ),
        )}
        {fleet.stopped > 0 && (
          <span class="k">
            <i class="sw-out" />
            stopped
          </span>
        )}
      </div>
    </div>
  );
}

/** The ring of what is beyond a limit, inside of its cell; with a second one, of the ground, where it needs somebody now. */
function ring(
  g: CanvasRenderingContext2D,
  { x, y, w, h }: Cell,
  color: string,
  second: string | null,
  radius: number,
): void {
  const wide = Math.min(2, w / 5);
  for (const [i, paint] of [color, ...(second === null ? [] : [second])].entries()) {
    const at = wide * (i + 0.5);
    g.strokeStyle = paint;
    g.lineWidth = wide;
    g.beginPath();
    g.roundRect(x + at, y + at, w - 2 * at, h - 2 * at, radius);
    g.stroke();
  }
}

function describe(row: NodeRow, fill: Fill, breaches: ReadonlyMap<string, Breach>): string {
  const label = FILLS.find(([f]) => f === fill)?.[1];
  const value = hasValue(row, fill) ? `${label} ${cellText(row, fill)}` : cellText(row, fill);
  const note = row.note === "" ? "" : `, ${row.note}`;
  const breach = breaches.get(row.id);
  return `${row.id}${row.simulated ? ", simulated" : ""}, ${value}${breach ? `, ${breach} alert` : ""}${note}`;
}

function inkOn(color: string): string {
  const [r, g, b] = color.match(/\d+/g)?.map(Number) ?? [0, 0, 0];
  return luminance([r, g, b] as [number, number, number] as Rgb) > 0.2 ? "#0b0d12" : "#ffffff";
}

function tileText(
  g: CanvasRenderingContext2D,
  cell: { x: number; y: number; w: number; h: number },
  row: NodeRow,
  fill: Fill,
  marked: boolean,
  ink: string,
  plain = false,
): void {
  g.save();
  g.beginPath();
  g.rect(cell.x, cell.y, cell.w - 6, cell.h);
  g.clip();
  g.fillStyle = ink;
  const value = cellText(row, fill);
  for (const [size, weight, s, y] of [
    [12, 500, row.id, cell.y + 17],
    [11, 400, row.simulated && marked ? `${value} · simulated` : value, cell.y + 32],
  ] as const) {
    g.font = font(size, weight);
    if (plain) {
      // Hatching must not run through letters.
      g.strokeStyle = token("surface");
      g.lineWidth = 4;
      g.lineJoin = "round";
      g.strokeText(s, cell.x + 8, y);
    }
    g.fillText(s, cell.x + 8, y);
  }
  g.restore();
}

/** The series that Explore draws, asked of the server for the window that the page shows. */
import { batch, type Signal, signal } from "@preact/signals";
import type { Held } from "../lib/complete";
import {
  type Axis,
  axisOf,
  DRAWN_MAX,
  type Line,
  labelsOf,
  NODES_MAX,
  PROMQL_AXIS,
  type SeriesLine,
  type Told,
} from "../lib/explore";
import type { Window } from "../lib/period";
import { Stepped, type SteppedColumn } from "../lib/stepped";
import { ask, problemOf } from "./ask";
import { protocolColor } from "./columns";
import type { ViewStatus } from "./view";

/** What `/api/v1/series` answers, as far as it is read. */
interface SeriesAnswer {
  stepSeconds: number;
  resolutionSeconds: number;
  points: { tick: number; seconds: number }[];
  series: {
    nodeId: string | null;
    name: string;
    attributes: Record<string, string>;
    kind: string;
    unit: string;
    statistics: { statistic: string; values: (number | null)[]; errorBoundPpm: number | null }[];
  }[];
  leftOut: number;
  completeness: Held;
}

interface PromqlAnswer {
  data: { result: { metric: Record<string, string>; values?: [number, string][]; histograms?: unknown[] }[] };
  warnings?: string[];
  infos?: string[];
}

/** What became of a line. */
export interface Outcome {
  /** Why there is nothing of it. */
  problem: string | null;
  /** What is to be known of what there is. */
  notes: string[];
  /** Series that are drawn; null before the first answer. */
  drawn: number | null;
}

interface Read extends Outcome {
  points: { tick: number; seconds: number }[];
  step: number;
  all: (Told & {
    axis: Axis;
    values: (number | null)[];
    low: (number | null)[] | null;
    high: (number | null)[] | null;
  })[];
}

/** A line of a chart. */
export interface DrawnSeries {
  column: `explore.${number}`;
  label: string;
  /** Colour token. */
  color: string;
  dash?: readonly number[];
}

/** One chart: what is of one unit. */
export interface ExploreChart {
  axis: Axis;
  /** Top of the axis, when it is of shares and they are near the whole. */
  top: number | undefined;
  /** Names of what is drawn, each once. */
  titles: readonly string[];
  series: readonly DrawnSeries[];
  /** Changes with what is drawn, not with its values. */
  key: string;
  view: {
    shown: Stepped;
    version: Signal<number>;
    status: Signal<ViewStatus>;
    nodeId: string;
    group: string;
  };
}

const COLORS = ["c-h2", "c-h3", "c-grpc", "c-h1", "c-ws", "c-other"] as const;
/** Lines beyond the colours differ in their pattern, pixels of ink and gap. */
const DASHES: readonly (readonly number[] | undefined)[] = [undefined, [6, 3], [2, 3]];

export class ExploreView {
  /** One for each chart, in the order of the lines. */
  readonly charts = signal<readonly ExploreChart[]>([]);
  /** One for each line. */
  readonly outcomes = signal<readonly Outcome[]>([]);
  private last: AbortController | null = null;
  private known = new Map<string, ReturnType<typeof emptyView>>();

  /** Reads a window of all lines. One that is on its way is given up for it. */
  async read(lines: readonly Line[], window: Window): Promise<void> {
    this.stop();
    const mine = new AbortController();
    this.last = mine;
    const all = await Promise.all(lines.map((line) => readLine(line, window, mine.signal)));
    if (mine.signal.aborted) return;
    batch(() => {
      this.outcomes.value = all.map(({ problem, notes, drawn }) => ({ problem, notes, drawn }));
      this.charts.value = this.drawn(all, window);
    });
  }

  stop(): void {
    this.last?.abort();
  }

  private drawn(answers: readonly Read[], window: Window): ExploreChart[] {
    const groups = new Map<string, Read["all"]>();
    for (const is of answers.flatMap((answer) => answer.all)) {
      const group = groups.get(is.axis.key) ?? [];
      if (group.length < DRAWN_MAX) group.push(is);
      groups.set(is.axis.key, group);
    }
    const { points, step } = answers.find((is) => is.points.length > 0) ?? { points: [], step: window.step };
    const held = points.map((_, i) => Math.max(...answers.map((is) => is.points[i]?.seconds ?? 0)));
    return [...groups].map(([key, group]) => {
      const labels = labelsOf(group);
      const colors = colorsOf(group);
      const series = group.map((_, i): DrawnSeries => {
        const dash = DASHES[Math.floor(i / COLORS.length)];
        return {
          column: `explore.${i}`,
          label: labels[i] ?? "",
          color: colors[i] ?? "c-other",
          ...(dash && { dash }),
        };
      });
      const columns = group.map((is, i): SteppedColumn => {
        const scaled = (values: (number | null)[] | null) =>
          values?.map((v) => (v === null ? null : v * is.axis.factor));
        const [values, min, max] = [is.values, is.low, is.high].map((all) => scaled(all) ?? null);
        return { name: `explore.${i}`, values: values ?? [], min: min ?? null, max: max ?? null };
      });
      const view = this.known.get(key) ?? emptyView();
      this.known.set(key, view);
      view.shown = new Stepped(points[0]?.tick ?? window.from, step, held, columns);
      view.status.value = "ready";
      view.version.value++;
      return {
        axis: (group[0] as (typeof group)[number]).axis,
        top: topOf(key, columns),
        titles: [...new Set(group.map((is) => is.name))],
        series,
        key: JSON.stringify([key, ...series.map((is) => [is.label, is.color])]),
        view,
      };
    });
  }
}

const emptyView = () => ({
  shown: new Stepped(0, 1, [], []),
  version: signal(0),
  status: signal<ViewStatus>("loading"),
  nodeId: "",
  group: "",
});

/** Shares of which one reaches a half, and none more than all, have the whole as their measure. */
function topOf(key: string, columns: readonly SteppedColumn[]): number | undefined {
  if (key !== "share") return undefined;
  const highest = Math.max(...columns.flatMap((is) => [...(is.max ?? is.values)].map((v) => v ?? 0)));
  return highest > 0.5 && highest <= 1 ? 1 : undefined;
}

/** A protocol has one colour everywhere; all else takes the colours in turn. */
function colorsOf(group: readonly Told[]): string[] {
  const protocols = group.map((is) => is.attributes.protocol);
  if (protocols.every((is) => is !== undefined) && new Set(protocols).size === group.length)
    return protocols.map((is) => protocolColor(is ?? ""));
  return group.map((_, i) => COLORS[i % COLORS.length] ?? "c-other");
}

async function readLine(line: Line, window: Window, abort: AbortSignal): Promise<Read> {
  try {
    return line.kind === "promql"
      ? await promql(line.query, window, abort)
      : await series(line, window, abort);
  } catch (error) {
    return { problem: problemOf(error), notes: [], drawn: 0, points: [], step: window.step, all: [] };
  }
}

async function series(line: SeriesLine, window: Window, abort: AbortSignal): Promise<Read> {
  const { name, attributes, statistic, whose } = line;
  const [scope, value] = [whose.slice(0, whose.indexOf(":")), whose.slice(whose.indexOf(":") + 1)];
  const each = whose === "each";
  const answer = await ask<SeriesAnswer>(
    "/api/v1/series",
    {
      name,
      ...Object.fromEntries(Object.entries(attributes).map(([key, value]) => [`attribute.${key}`, value])),
      statistics: statistic,
      from: window.from,
      to: window.to,
      step: window.step,
      node: scope === "node" ? value : undefined,
      group: scope === "group" ? value : undefined,
      total: line.total ? "true" : undefined,
      eachNode: each ? "true" : undefined,
      top: each ? NODES_MAX : undefined,
    },
    abort,
  );
  const all = answer.series.flatMap((is): Read["all"] => {
    const of = (name: string) => is.statistics.find((s) => s.statistic === name)?.values ?? null;
    const usual = is.kind === "histogram" ? "p99" : "mean";
    const named = statistic || (of(usual) ? usual : (is.statistics[0]?.statistic ?? ""));
    const values = of(named);
    if (values === null) return [];
    return [
      {
        name: is.name,
        statistic: named,
        attributes: is.attributes,
        whose: is.nodeId ?? (each ? "" : value),
        axis: axisOf(is.unit, is.kind, named, is.name),
        values,
        low: named === "mean" && answer.stepSeconds > 1 ? of("min") : null,
        high: named === "mean" && answer.stepSeconds > 1 ? of("max") : null,
      },
    ];
  });
  const notes: string[] = answer.completeness.missing.map(
    (part) => `without ${part.aggregatorId ?? "a part"}: ${part.reason}`,
  );
  if (answer.leftOut > 0) notes.push(`${answer.leftOut} more are left out; name an attribute to see them`);
  else if (all.length > DRAWN_MAX)
    notes.push(`${DRAWN_MAX} of ${all.length} are drawn; name an attribute to see the others`);
  if (answer.resolutionSeconds > answer.stepSeconds)
    notes.push(`what is kept of this time is of ${answer.resolutionSeconds} s`);
  const problem =
    all.length === 0 ? "There is no series of this name and these attributes in this time." : null;
  return { problem, notes, drawn: all.length, points: answer.points, step: answer.stepSeconds, all };
}

async function promql(query: string, { from, to, step }: Window, abort: AbortSignal): Promise<Read> {
  const start = Math.floor(from / step) * step;
  const parameters = { query, start, end: to, step };
  const answer = await ask<PromqlAnswer>("/prometheus/api/v1/query_range", parameters, abort);
  const n = Math.floor((to - start) / step) + 1;
  const points = Array.from({ length: n }, (_, i) => ({ tick: start + i * step, seconds: 0 }));
  const numbers = answer.data.result.filter((is) => is.values !== undefined);
  const all = numbers.map(({ metric, values = [] }): Read["all"][number] => {
    const { __name__: name = "", ...attributes } = metric;
    const column: (number | null)[] = new Array(n).fill(null);
    for (const [time, text] of values) {
      const i = Math.round((time - start) / step);
      const v = Number(text);
      if (i < 0 || i >= n || !Number.isFinite(v)) continue;
      column[i] = v;
      (points[i] as { seconds: number }).seconds = step;
    }
    const told = { name: name || query, statistic: "", attributes, whose: "" };
    return { ...told, axis: PROMQL_AXIS, values: column, low: null, high: null };
  });
  const notes = [...(answer.warnings ?? []), ...(answer.infos ?? [])];
  if (all.length > DRAWN_MAX) notes.push(`${DRAWN_MAX} of ${all.length} are drawn; topk() names the highest`);
  if (numbers.length < answer.data.result.length)
    notes.push("a histogram is no line; histogram_quantile() makes one of it");
  const problem = answer.data.result.length === 0 ? "The query has no result in this time." : null;
  return { problem, notes, drawn: all.length, points, step, all };
}

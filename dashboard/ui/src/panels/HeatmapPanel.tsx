/** Latency, throughput or errors of the cluster or a node, by time and value. */
import { useSignal } from "@preact/signals";
import { Heatmap } from "../components/Heatmap";
import { Choice, Panel } from "../components/Panel";
import { lackBriefly, NO_REQUESTS } from "../components/words";
import { type Box, boxOf, boxText, parseBox, placeOf } from "../lib/box";
import { type Held, noted } from "../lib/complete";
import * as f from "../lib/format";
import { columnFacts, type Heat, type HeatAnswer, readHeat } from "../lib/heat";
import { query, setQuery } from "../state/router";
import { asked } from "../state/timeline";
import { boxesGoAlong, Differ } from "./Differ";
import { useAnswer } from "./useAnswer";

/** A column for every six pixels of the panel on a desk; more cannot be told apart. */
const COLUMNS = 120;
const ROWS = 24;
const HEIGHT = 214;
const TABLE_ROWS_MAX = 200;

const METRICS = [
  ["latency", "Latency"],
  ["throughput", "Throughput"],
  ["errors", "Errors"],
] as const;
type Metric = (typeof METRICS)[number][0];

/** How the values of a metric are written, and what a cell counts. */
const WORDS: Record<
  Metric,
  { note: string; value: (v: number) => f.Quantity; axis: (v: number) => string; one: string; none: string }
> = {
  latency: {
    note: "request latency, stronger colour is more requests",
    value: f.micros,
    axis: (v) => f.axisMicros(round(v)),
    one: "request",
    none: NO_REQUESTS,
  },
  throughput: {
    note: "requests per second, stronger colour is more seconds",
    value: f.rate,
    axis: (v) => f.axisCount(round(v)),
    one: "second",
    none: NO_REQUESTS,
  },
  errors: {
    note: "failed requests per second, stronger colour is more seconds",
    value: f.rate,
    axis: (v) => f.axisCount(round(v)),
    one: "second",
    none: NO_REQUESTS,
  },
};

/** Bounds have the figures of the buckets; an axis has room for two. */
const round = (v: number) => Number(v.toPrecision(2));

export function HeatmapPanel({ node = "", group = "" }: { node?: string; group?: string }) {
  const table = useSignal(false);
  const named = query.value.get("heat");
  const metric = METRICS.find(([key]) => key === named)?.[0] ?? "latency";
  const { from, to } = asked.value;
  const { answer, problem } = useAnswer<HeatAnswer & { completeness: Held }>(
    `${metric} ${node} ${group}`,
    `/api/v1/metrics/heatmap/${metric}`,
    { from, to, columns: Math.min(COLUMNS, to - from + 1), rows: ROWS, node, group },
  );
  const words = WORDS[metric];
  const heat = answer && readHeat(answer);
  const { value } = words;
  const bounds = ({ lower, upper }: Heat["rows"][number]) =>
    upper === null
      ? `${f.text(value(lower))} and more`
      : `${f.text(value(lower))} to ${f.text(value(upper))}`;
  const amount = (v: number) => f.plural(v, words.one);
  const box = parseBox(query.value.get("box"));
  const lacks = answer?.completeness.missing.map(
    (part) => `without ${part.aggregatorId ?? "a part"}: ${part.reason}`,
  );
  const stale = problem !== null && answer !== null ? `not read again: ${problem}` : undefined;
  return (
    <Panel
      title="Performance heatmap"
      note={noted(
        node === "" ? words.note : `${words.note.split(",")[0]} on this node`,
        ...(lacks ?? []),
        stale,
      )}
      width={8}
      controls={
        <Choice<Metric>
          label="Show"
          value={metric}
          options={METRICS}
          choose={(v) => {
            setQuery("heat", v === "latency" ? null : v);
            // Its values are of another kind.
            setQuery("box", null);
          }}
        />
      }
      table={{
        on: table.value,
        toggle: () => {
          table.value = !table.value;
        },
      }}
    >
      {heat === null || heat.most === 0 ? (
        <p class="absent" style={{ minHeight: `${HEIGHT}px` }}>
          {lackBriefly.value ?? (heat === null ? (problem ?? "Reading.") : emptyWords(answer, words.none))}
        </p>
      ) : table.value ? (
        <HeatTable heat={heat} bounds={bounds} amount={amount} />
      ) : (
        <>
          <Heatmap
            heat={heat}
            height={HEIGHT}
            axis={words.axis}
            bounds={bounds}
            amount={amount}
            sentence={sentence(heat, metric, bounds, amount)}
            select={{
              place: box && placeOf(heat, box),
              choose: (a, b) => {
                const chosen = boxOf(heat, a, b, boxesGoAlong());
                if (chosen) setQuery("box", boxText(chosen));
              },
              clear: () => setQuery("box", null),
            }}
          />
          <div class="ramp">
            <span>1</span>
            <span class="ramp-bar" />
            <span>
              {f.text(f.count(heat.most))} {words.one}s in a cell
            </span>
            <span class="k">
              <i class="sw-zero" />
              none
            </span>
            <span class="k">
              <i class="sw-hatch" />
              no data
            </span>
            {box === null && (
              <span class="k wide-only">Drag a box to see what it has more of than the rest</span>
            )}
          </div>
        </>
      )}
      {box !== null && heat !== null && heat.most > 0 && (
        <Differ
          metric={metric}
          node={node}
          group={group}
          box={box}
          values={valuesOf(box, value, metric === "latency" ? "of any latency" : "at any rate")}
        />
      )}
    </Panel>
  );
}

/** The values of a box in words. */
function valuesOf({ lower, upper }: Box, value: (v: number) => f.Quantity, any: string): string {
  if (lower !== null && upper !== null) return `${f.text(value(lower))} to ${f.text(value(upper))}`;
  if (lower !== null) return `${f.text(value(lower))} and more`;
  return upper === null ? any : `below ${f.text(value(upper))}`;
}

function emptyWords(answer: { completeness: Held } | null, none: string): string {
  if (answer && answer.completeness.seconds > 0) return none;
  return "No history in this time: it begins with the first second that an aggregator stored.";
}

function sentence(
  heat: Heat,
  metric: Metric,
  bounds: (row: Heat["rows"][number]) => string,
  amount: (v: number) => string,
): string {
  const facts = heat.columns.map((_, c) => columnFacts(heat, c)).filter((is) => is !== null);
  const highest = Math.max(...facts.map((is) => is.highest));
  const newest = facts.at(-1);
  const row = (r: number) => bounds(heat.rows[r] as Heat["rows"][number]);
  const now = newest ? `the last column has its middle in ${row(newest.middle)}, ` : "";
  return `Heatmap of ${metric}: ${now}the highest row with values is ${row(highest)}, the fullest cell has ${amount(heat.most)}`;
}

function HeatTable({
  heat,
  bounds,
  amount,
}: {
  heat: Heat;
  bounds: (row: Heat["rows"][number]) => string;
  amount: (v: number) => string;
}) {
  const { columns, rows, step } = heat;
  const over = (columns.at(-1)?.tick ?? 0) - (columns[0]?.tick ?? 0);
  const newestFirst = columns.map((_, c) => columns.length - 1 - c).slice(0, TABLE_ROWS_MAX);
  const row = (r: number) => bounds(rows[r] as Heat["rows"][number]);
  return (
    <section
      class="scroll"
      style={{ height: `${HEIGHT}px` }}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
      tabIndex={0}
      aria-label="Performance heatmap, table"
    >
      <table class="t">
        <caption class="sr">One row for each column of the heatmap, newest first</caption>
        <thead>
          <tr>
            <th scope="col">From</th>
            <th scope="col">Values</th>
            <th scope="col">Middle</th>
            <th scope="col">Highest</th>
          </tr>
        </thead>
        <tbody>
          {newestFirst.map((c) => {
            const facts = columnFacts(heat, c);
            const known = heat.cells.some((cells) => cells[c] !== null);
            return (
              <tr key={columns[c]?.tick}>
                <td>{f.clockWithin(columns[c]?.tick ?? 0, over, step)}</td>
                <td>{facts ? amount(facts.total) : known ? "none" : "no data"}</td>
                <td>{facts ? row(facts.middle) : f.NONE}</td>
                <td>{facts ? row(facts.highest) : f.NONE}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

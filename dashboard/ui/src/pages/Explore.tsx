/** Any series by name and attributes, several on one chart; queries in PromQL for those who want them. */
import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { type ExploreChart, ExploreView } from "../api/explore";
import { ChartPanel } from "../components/ChartPanel";
import { Panel } from "../components/Panel";
import { PinRow } from "../components/PinRow";
import { SeriesCombobox } from "../components/SeriesCombobox";
import { Shell } from "../components/Shell";
import { WhoseSelect } from "../components/Whose";
import { lackText } from "../components/words";
import { csv } from "../lib/csv";
import { LINES_MAX, type Line, readLines, type Whose, type Written, writeLine } from "../lib/explore";
import * as f from "../lib/format";
import { byName, type ListedSeries } from "../lib/listed";
import { save } from "../lib/save";
import { SCALES, type Scale } from "../panels/table";
import { useAnswer } from "../panels/useAnswer";
import { beat } from "../state/page";
import { navigateHereAll, query } from "../state/router";
import { asked, range } from "../state/timeline";
import { LineRow } from "./ExploreLines";
import { useHosts } from "./hooks";

/** The list of series is read again so seldom, seconds. */
const LIST_EVERY = 60;
/** A question that failed is asked again after so many seconds. */
const AGAIN_AFTER = 10;
const HEIGHT = 260;

/** To begin with. */
const EXAMPLES: readonly (readonly [string, readonly string[]])[] = [
  ["CPU of the busiest nodes", ["system.cpu.busy on each"]],
  ["Network by direction", ["system.network.io"]],
  ["Memory by state", ["system.memory.usage"]],
  ["Requests and their p99 by protocol", ["traffic.requests", "traffic.duration"]],
  ["Pressure, ten times a second", ["system.pressure.fine"]],
];

const share = (v: number) => (v === 0 ? "0" : `${Number((v * 100).toPrecision(3))}%`);

/** As a panel has it, but with room for shares of a thousandth and of several processors. */
function scaleOf(written: Written): Scale {
  const { max: _, ...scale } = SCALES[written];
  return written === "share" ? { ...scale, axis: share } : scale;
}

interface List {
  series: ListedSeries[];
  leftOut: number;
}

export function ExplorePage() {
  const hosts = useHosts();
  const fleet = hosts.state.value;
  const lines = readLines(query.value);
  const texts = lines.map(writeLine);
  const view = useMemo(() => new ExploreView(), []);
  useEffect(() => () => view.stop(), []);
  // Read again with the address, with the window of the page, and after a failure.
  useSignalEffect(() => {
    const asks = readLines(query.value).filter((is) => is.kind === "series" || is.query !== "");
    const window = asked.value;
    void view.read(asks, window);
  });
  useSignalEffect(() => {
    const failed = view.outcomes.peek().some((is) => is.problem === "The server does not answer.");
    if (beat.value % AGAIN_AFTER === 0 && failed) void view.read(readLines(query.peek()), asked.peek());
  });

  const whose = useSignal<Whose>("");
  const someNode =
    whose.value === "each" ? fleet?.rows.find((row) => row.state === "reporting")?.id : undefined;
  const [scope, name] = [whose.value.split(":", 1)[0], whose.value.slice(whose.value.indexOf(":") + 1)];
  const { answer, problem } = useAnswer<List>(
    `series ${whose.value}`,
    "/api/v1/series",
    { node: scope === "node" ? name : someNode, group: scope === "group" ? name : undefined },
    { every: LIST_EVERY },
  );
  const names = useMemo(() => byName(answer?.series ?? []), [answer]);
  const full = lines.length >= LINES_MAX;

  const show = (next: readonly string[]) => navigateHereAll("s", next);
  const add = (line: Line) => {
    if (!full) show([...texts, writeLine(line)]);
  };
  const outcomes = view.outcomes.value;
  // Outcomes are of the lines that are asked.
  let place = 0;
  const outcomeOf = (line: Line) =>
    line.kind === "promql" && line.query === "" ? undefined : outcomes[place++];
  return (
    <Shell title="Explore">
      <PinRow />
      <div class="grid explore">
        <Panel
          title="Series"
          note={
            full ? `${LINES_MAX} at most` : names.length > 0 ? `${f.plural(names.length, "name")}` : undefined
          }
          width={12}
          controls={
            <button
              type="button"
              class="btn s"
              disabled={full}
              onClick={() => add({ kind: "promql", query: "" })}
            >
              Add PromQL
            </button>
          }
        >
          <div class="explore-add">
            <SeriesCombobox
              label="Add a series by name, unit or attribute"
              placeholder="Add a series: name, unit or attribute"
              names={answer && names}
              problem={problem}
              choose={(name) =>
                add({ kind: "series", name, attributes: {}, statistic: "", whose: whose.value })
              }
            />
            <WhoseSelect
              label="Of"
              value={whose.value}
              choose={(next) => {
                whose.value = next;
              }}
              fleet={fleet}
              each="each node"
            />
          </div>
          {lines.length === 0 ? (
            <p class="explore-examples">
              For example
              {EXAMPLES.map(([words, first]) => (
                <button type="button" class="btn s" key={words} onClick={() => show(first)}>
                  {words}
                </button>
              ))}
            </p>
          ) : (
            <ul class="explore-lines">
              {lines.map((line, i) => (
                <LineRow
                  // The same series may stand twice.
                  key={line.kind === "promql" ? `promql ${i}` : `${i} ${line.name}`}
                  line={line}
                  listed={line.kind === "series" ? names.find((is) => is.name === line.name) : undefined}
                  fleet={fleet}
                  outcome={outcomeOf(line)}
                  change={(next) => show(texts.map((text, at) => (at === i ? writeLine(next) : text)))}
                  remove={() => show(texts.filter((_, at) => at !== i))}
                />
              ))}
            </ul>
          )}
        </Panel>
        {lines.length > 0 && view.charts.value.map((chart) => <Chart key={chart.key} chart={chart} />)}
        {lines.length > 0 && view.charts.value.length === 0 && (
          <section class="p w12" aria-label="Chart">
            <p class="absent">
              {lackText.value ?? (outcomes.length === 0 ? "Reading." : "Nothing to draw.")}
            </p>
          </section>
        )}
      </div>
    </Shell>
  );
}

/** A chart of one unit. */
function Chart({ chart: { axis, top, series, view, titles } }: { chart: ExploreChart }) {
  const [first = "", second, ...others] = titles;
  const title =
    second === undefined
      ? first
      : `${first}, ${second}${others.length > 0 ? ` and ${others.length} more` : ""}`;
  const step = view.shown.step;
  const file = () => {
    const { from, to } = range.peek();
    const ticks: number[] = [];
    for (let t = Math.floor(from / step) * step; t <= Math.min(to, view.shown.end); t += step) ticks.push(t);
    const columns = series.map((is) => {
      const values: (number | null)[] = [];
      view.shown.window(is.column, ticks[0] ?? from, ticks.at(-1) ?? to, values);
      // In the unit of the series, not in that of the axis.
      return {
        head: axis.unit === "" ? is.label : `${is.label} (${axis.unit})`,
        values: values.map((v) => (v === null ? null : v / axis.factor)),
      };
    });
    save("starling.csv", "text/csv", csv(ticks, columns));
  };
  return (
    <ChartPanel
      view={view}
      ranged
      title={title}
      series={series}
      note={`${axis.words}, by ${f.span(step)}`}
      width={12}
      height={HEIGHT}
      {...scaleOf(axis.written)}
      {...(top !== undefined && { max: top })}
      empty="No data in this time."
      controls={
        <button type="button" class="btn s" onClick={file}>
          CSV
        </button>
      }
    />
  );
}

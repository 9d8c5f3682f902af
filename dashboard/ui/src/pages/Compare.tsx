/** Up to four nodes beside each other: their figures, and their lines on common charts. */
import { useSignalEffect } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { ExploreView } from "../api/explore";
import type { Fleet } from "../api/fleet";
import { ChartPanel } from "../components/ChartPanel";
import { StatusMark } from "../components/Icons";
import { Panel } from "../components/Panel";
import { rowMark, stateText } from "../components/words";
import type { SeriesLine } from "../lib/explore";
import * as f from "../lib/format";
import type { NodeRow } from "../lib/nodes";
import { SCALES, type Scale } from "../panels/table";
import { navigateHereAll, nodeHref } from "../state/router";
import { asked } from "../state/timeline";

const COLORS = ["c-h2", "c-h3", "c-grpc", "c-h1"] as const;
const HEIGHT = 132;

const CHARTS: readonly (readonly [
  title: string,
  note: string,
  name: string,
  statistic: string,
  scale: Scale,
])[] = [
  ["CPU", "share of all cores", "system.cpu.busy", "", SCALES.share],
  ["Memory", "share in use", "system.memory.utilization", "", SCALES.share],
  ["Requests", "per second", "traffic.requests", "", SCALES.rate],
  ["Latency p99", "per point", "traffic.duration", "p99", SCALES.micros],
];

/** Figures side by side; of numbers the largest is marked. */
const FIGURES: readonly (readonly [
  title: string,
  value: (row: NodeRow) => number,
  text: (row: NodeRow) => string,
])[] = [
  ["CPU", (r) => r.cpu, (r) => f.text(f.percent(r.cpu))],
  ["Memory", (r) => r.memory, (r) => f.text(f.percent(r.memory))],
  ["Requests", (r) => r.requests, (r) => f.text(f.rate(r.requests))],
  ["Errors", (r) => r.errors, (r) => f.text(f.rate(r.errors))],
  ["p99", (r) => r.p99, (r) => f.text(f.micros(r.p99))],
  ["Load, 1 min", (r) => r.load, (r) => f.significant(r.load)],
  ["Sockets", (r) => r.connections, (r) => f.text(f.count(r.connections))],
  ["Cores", (r) => r.cores, (r) => f.grouped(r.cores)],
];

interface Props {
  fleet: Fleet;
  ids: readonly string[];
}

export function Compare({ fleet, ids }: Props) {
  const rows = ids.map((id) => fleet.rows.find((row) => row.id === id));
  const labels = fleet.labels.filter((key) => rows.some((row) => row?.labels[key] !== undefined));
  return (
    <>
      <Panel
        title="Compared"
        note={ids.length < 2 ? "choose up to four in the table" : `${ids.length} nodes`}
        width={12}
        controls={
          <button type="button" class="btn s" onClick={() => navigateHereAll("compare", [])}>
            End the comparison
          </button>
        }
        class="flush"
      >
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard */}
        <section class="wide" tabIndex={0} aria-label="Table of the comparison">
          <table class="t nodes compare">
            <thead>
              <tr>
                <th scope="col">Figure</th>
                {ids.map((id, i) => (
                  <th scope="col" key={id}>
                    <i class="sw" style={{ backgroundColor: `var(--${COLORS[i]})` }} />
                    <a href={nodeHref(id)} title={id}>
                      <bdi>{f.middle(id)}</bdi>
                    </a>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              <tr>
                <th scope="row">State</th>
                {rows.map((row, i) => (
                  <td key={ids[i]}>
                    {row ? (
                      <>
                        <StatusMark mark={rowMark(row)} />
                        {stateText(row)}
                      </>
                    ) : (
                      "no node of this name"
                    )}
                  </td>
                ))}
              </tr>
              {FIGURES.map(([title, value, text]) => {
                const known = rows.flatMap((row) => (row && f.known(value(row)) ? [value(row)] : []));
                const most = Math.max(...known);
                const same = known.every((v) => v === most);
                return (
                  <tr key={title}>
                    <th scope="row">{title}</th>
                    {rows.map((row, i) => (
                      <td key={ids[i]} class={row && !same && value(row) === most ? "most" : ""}>
                        {row ? text(row) : f.NONE}
                      </td>
                    ))}
                  </tr>
                );
              })}
              {labels.map((key) => (
                <tr key={key}>
                  <th scope="row">{key}</th>
                  {rows.map((row, i) => (
                    <td key={ids[i]}>
                      <bdi>{row?.labels[key] ?? f.NONE}</bdi>
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      </Panel>
      {CHARTS.map(([title, note, name, statistic, scale]) => (
        <Together
          key={`${title} ${ids.join()}`}
          title={title}
          note={note}
          name={name}
          statistic={statistic}
          scale={scale}
          ids={ids}
        />
      ))}
    </>
  );
}

interface TogetherProps {
  title: string;
  note: string;
  name: string;
  statistic: string;
  scale: Scale;
  ids: readonly string[];
}

/** A metric of all of them on one chart. */
function Together({ title, note, name, statistic, scale, ids }: TogetherProps) {
  const view = useMemo(() => new ExploreView(), []);
  useEffect(() => () => view.stop(), []);
  useSignalEffect(() => {
    const lines = ids.map(
      (id): SeriesLine => ({
        kind: "series",
        name,
        attributes: {},
        statistic,
        whose: `node:${id}`,
        total: true,
      }),
    );
    void view.read(lines, asked.value);
  });
  const chart = view.charts.value[0];
  if (!chart) {
    return (
      <Panel title={title} note={note} width={6}>
        <p class="absent">{view.outcomes.value.length === 0 ? "Reading." : "No data in this time."}</p>
      </Panel>
    );
  }
  // A node has one colour on all charts, also where another one has no data.
  const series = chart.series.map((is) => {
    const id = ids.find((id) => id === is.label) ?? (ids.length === 1 ? ids[0] : undefined);
    const at = id === undefined ? -1 : ids.indexOf(id);
    return { column: is.column, label: id ?? is.label, color: COLORS[at] ?? "c-other" };
  });
  return (
    <ChartPanel
      key={chart.key}
      {...scale}
      view={chart.view}
      ranged
      title={title}
      note={note}
      width={6}
      height={HEIGHT}
      series={series}
      empty="No data in this time."
    />
  );
}

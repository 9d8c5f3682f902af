/** What the value of an alert was around its firing, with the limit it went beyond. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { AlertDetails } from "../api/alerts";
import { ask, problemOf } from "../api/ask";
import { TrendChart } from "../components/TrendChart";
import { around, type Points, ratio } from "../lib/alertChart";
import { ruleTitle, written } from "../lib/alerts";
import { secondOf } from "../lib/analysis";
import * as f from "../lib/format";
import { serverNow } from "../state/page";

const HEIGHT = 150;

interface Answer {
  stepSeconds: number;
  points: { tick: number }[];
  series: { statistics: { values: (number | null)[] }[] }[];
}

export function AlertChart({ alert }: { alert: AlertDetails }) {
  const { chart, node, scope, subject } = alert;
  const read = useSignal<Points | null>(null);
  const problem = useSignal("");
  useEffect(() => {
    if (!chart) return;
    const mine = new AbortController();
    const ended = alert.endedAt === null ? null : secondOf(alert.endedAt);
    const { from, to } = around(secondOf(alert.since), ended, serverNow());
    const of = {
      node: node ?? undefined,
      group: scope === "group" ? (subject ?? undefined) : undefined,
      from,
      to,
    };
    const all = chart.series.map(({ name, attributes, statistic }) => {
      const wanted = Object.entries(attributes).map(([key, value]) => [`attribute.${key}`, value]);
      const query = { ...of, name, total: "true", statistics: statistic, ...Object.fromEntries(wanted) };
      return ask<Answer>("/api/v1/series", query, mine.signal);
    });
    Promise.all(all).then(
      (answers) => {
        const [first] = answers;
        if (first === undefined) return;
        const values = answers.map((a) => a.series[0]?.statistics[0]?.values ?? []);
        read.value = {
          ticks: first.points.map((is) => is.tick),
          step: first.stepSeconds,
          values: ratio(first.points.length, values),
        };
      },
      (error) => {
        if (!mine.signal.aborted) problem.value = problemOf(error);
      },
    );
    return () => mine.abort();
  }, [alert.id]);
  if (!chart) return null;
  const points = read.value;
  if (points === null || points.values.every((v) => v === null)) {
    const none = points === null ? "Reading." : "No history of its value in this time.";
    return <p class="absent alert-chart">{problem.value === "" ? none : problem.value}</p>;
  }
  const nothing = points.values.map(() => null);
  const shown = (v: number) => written(v, chart.unit);
  const limit = chart.limit === null ? null : { at: chart.limit, text: `limit ${shown(chart.limit)}` };
  const over = (points.ticks.at(-1) ?? 0) - (points.ticks[0] ?? 0) + points.step;
  const said = limit === null ? "" : `, ${limit.text}`;
  return (
    <div class="alert-chart">
      <TrendChart
        ticks={points.ticks}
        step={points.step}
        values={points.values}
        low={nothing}
        high={nothing}
        average={null}
        peak={null}
        limit={limit}
        since={secondOf(alert.since)}
        height={HEIGHT}
        axis={shown}
        read={shown}
        unit={undefined}
        max={undefined}
        sentence={`${ruleTitle(alert.metric)} over ${f.lengthInWords(over)}${said}`}
      />
    </div>
  );
}

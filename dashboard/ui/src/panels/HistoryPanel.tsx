/** What a metric was like over a range: average, peak, low, deviation, the periods before, and what stands out. */
import { useSignal } from "@preact/signals";
import { Choice, Panel } from "../components/Panel";
import { lackBriefly } from "../components/words";
import { type Analysis, secondOf } from "../lib/analysis";
import { noted } from "../lib/complete";
import * as f from "../lib/format";
import { RANGES, type RangeName, windowOf } from "../lib/period";
import { zoneId } from "../lib/zone";
import { query, setQuery } from "../state/router";
import { asked, period } from "../state/timeline";
import { AnalysisSide, AnalysisTrend } from "./AnalysisBody";
import { SCALES, type Scale } from "./table";
import { useAnswer } from "./useAnswer";

const METRICS = [
  ["latency", "Latency p99"],
  ["requests", "Requests"],
  ["errors", "Errors"],
  ["cpu", "CPU"],
  ["memory", "Memory"],
] as const;
type Metric = (typeof METRICS)[number][0];

const SCALE: Record<Metric, Scale> = {
  latency: SCALES.micros,
  requests: SCALES.rate,
  errors: SCALES.rate,
  cpu: SCALES.share,
  memory: SCALES.share,
};

const NAMES = Object.keys(RANGES) as RangeName[];
/** The range without a choice: a day, or that of the page. */
const USUAL: RangeName = "24h";
const POINTS = 300;
const HEIGHT = 150;
/** A range that ends now is asked again so seldom, seconds. */
const AGAIN_EVERY = 60;

/** The seconds that are asked for: the range of the panel, else that of the page, else a day. */
function chosen(): { name: RangeName | "page"; from: number; to: number } {
  const named = query.value.get("analysis");
  const own = NAMES.find((name) => name === named);
  if (own === undefined && period.value !== null) {
    const { from, to } = asked.value;
    return { name: "page", from, to };
  }
  const name = own ?? USUAL;
  return { name, ...windowOf({ name, seconds: RANGES[name] }, AGAIN_EVERY, asked.value.to) };
}

export function HistoryPanel({ node = "", group = "" }: { node?: string; group?: string }) {
  const table = useSignal(false);
  const named = query.value.get("metric");
  const metric = METRICS.find(([key]) => key === named)?.[0] ?? "latency";
  const range = chosen();
  const { answer, problem } = useAnswer<Analysis>(
    `${metric} ${node} ${group}`,
    "/api/v1/metrics/historical",
    {
      metric,
      from: range.from,
      to: range.to,
      points: POINTS,
      timeZone: zoneId(),
      node,
      group,
    },
  );
  const label = METRICS.find(([key]) => key === metric)?.[1] ?? "";
  const seconds = range.to - range.from + 1;
  const complete = answer?.completeness;
  const begins = complete?.firstData ? `data from ${f.dated(secondOf(complete.firstData))} on` : undefined;
  const lacks =
    complete?.missing.map((part) => `without ${part.aggregatorId ?? "a part"}: ${part.reason}`) ?? [];
  const stale = problem !== null && answer !== null ? `not read again: ${problem}` : undefined;
  const empty = answer !== null && answer.average === null;
  return (
    <Panel
      title="Historical analysis"
      note={noted(`${f.lengthInWords(seconds)}, against the time before`, begins, ...lacks, stale)}
      width={12}
      class="history"
      controls={
        <>
          <Choice<Metric>
            label="Metric"
            value={metric}
            options={METRICS}
            choose={(v) => setQuery("metric", v === "latency" ? null : v)}
          />
          <select
            class="select s"
            aria-label="Range of the analysis"
            value={range.name}
            onChange={(e) =>
              setQuery("analysis", e.currentTarget.value === "page" ? null : e.currentTarget.value)
            }
          >
            {period.value !== null && <option value="page">as the page</option>}
            {NAMES.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </>
      }
      table={{
        on: table.value,
        toggle: () => {
          table.value = !table.value;
        },
      }}
    >
      {answer === null || empty ? (
        <p class="absent">
          {lackBriefly.value ?? (answer === null ? (problem ?? "Reading.") : emptyWords(label, begins))}
        </p>
      ) : (
        <div class="history-body">
          <AnalysisTrend
            answer={answer}
            scale={SCALE[metric]}
            label={label}
            table={table.value}
            height={HEIGHT}
          />
          <AnalysisSide answer={answer} scale={SCALE[metric]} />
        </div>
      )}
    </Panel>
  );
}

export function emptyWords(label: string, begins: string | undefined): string {
  const none = `No ${label} in this time`;
  return begins
    ? `${none}: ${begins}.`
    : `${none}. History begins with the first second that an aggregator stored.`;
}

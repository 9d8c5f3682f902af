/** What a metric was like over a range: average, peak, low, deviation, the periods before, and what stands out. */
import { useSignal } from "@preact/signals";
import { StatusMark } from "../components/Icons";
import { Choice, Panel } from "../components/Panel";
import { TrendChart } from "../components/TrendChart";
import { lackText } from "../components/words";
import { type Analysis, comparedWords, evidenceHref, type Insight, secondOf } from "../lib/analysis";
import { noted } from "../lib/complete";
import * as f from "../lib/format";
import { RANGES, type RangeName, windowOf } from "../lib/period";
import { zoneId } from "../lib/zone";
import { query, setQuery } from "../state/router";
import { asked, period } from "../state/timeline";
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

export function HistoryPanel({ node = "" }: { node?: string }) {
  const table = useSignal(false);
  const named = query.value.get("metric");
  const metric = METRICS.find(([key]) => key === named)?.[0] ?? "latency";
  const range = chosen();
  const { answer, problem } = useAnswer<Analysis>(`${metric} ${node}`, "/api/v1/metrics/historical", {
    metric,
    from: range.from,
    to: range.to,
    points: POINTS,
    timeZone: zoneId(),
    node,
  });
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
          {lackText.value ?? (answer === null ? (problem ?? "Reading.") : emptyWords(label, begins))}
        </p>
      ) : (
        <Shown answer={answer} metric={metric} label={label} table={table.value} />
      )}
    </Panel>
  );
}

function emptyWords(label: string, begins: string | undefined): string {
  const none = `No ${label} in this time`;
  return begins
    ? `${none}: ${begins}.`
    : `${none}. History begins with the first second that an aggregator stored.`;
}

function Shown({
  answer,
  metric,
  label,
  table,
}: {
  answer: Analysis;
  metric: Metric;
  label: string;
  table: boolean;
}) {
  const { value, axis, unit, max } = SCALE[metric];
  const { timeSeries: points, peak, peakAt, lowAt, comparisons, stepSeconds } = answer;
  const over = (points.at(-1)?.tick ?? 0) - (points[0]?.tick ?? 0) + stepSeconds;
  const when = (time: string | null) => (time === null ? "" : `, ${f.clockWithin(secondOf(time), over, 1)}`);
  const read = (v: number) => f.text(value(v));
  const figure = (v: number | null) => value(v ?? Number.NaN);
  return (
    <div class="history-body">
      <div class="history-main">
        <dl class="summary">
          {(
            [
              ["Average", figure(answer.average)],
              [`Peak${when(peakAt)}`, figure(peak)],
              [`Low${when(lowAt)}`, figure(answer.low)],
              ["Std dev", figure(answer.standardDeviation)],
            ] as const
          ).map(([title, q]) => (
            <div key={title}>
              <dt>{title}</dt>
              <dd>
                {q.value}
                <small>{q.unit}</small>
              </dd>
            </div>
          ))}
        </dl>
        {table ? (
          <PointTable points={points} over={over} step={stepSeconds} label={label} read={read} />
        ) : (
          <TrendChart
            ticks={points.map((is) => is.tick)}
            step={stepSeconds}
            values={points.map((is) => is.value)}
            low={points.map((is) => is.min)}
            high={points.map((is) => is.max)}
            average={answer.average}
            peak={peak === null || peakAt === null ? null : { at: secondOf(peakAt), value: peak }}
            height={HEIGHT}
            axis={axis}
            read={read}
            unit={unit}
            max={max}
            sentence={`${label} over ${f.lengthInWords(over)}: average ${read(answer.average ?? Number.NaN)}, peak ${f.text(figure(peak))}${when(peakAt)}`}
          />
        )}
      </div>
      <div class="history-side">
        <h3>Compared</h3>
        <dl class="kv tight">
          {(
            [
              ["Period before", comparisons.periodBefore],
              ["A week ago", comparisons.weekAgo],
            ] as const
          ).map(([title, is]) => (
            <div key={title} title={is?.countedIn ? `Counted in ${is.countedIn}` : undefined}>
              <dt>{title}</dt>
              <dd>{is === null ? "no data" : comparedWords(is, answer.average, value)}</dd>
            </div>
          ))}
        </dl>
        <h3>Performance insights</h3>
        {answer.insights.length === 0 ? (
          <p class="mute">Nothing stands out by any rule.</p>
        ) : (
          <ul class="insights">
            {answer.insights.map((is) => (
              <InsightLine key={`${is.type} ${is.since} ${is.message}`} insight={is} />
            ))}
          </ul>
        )}
      </div>
    </div>
  );
}

/** What speaks of trouble has the mark of a warning; the others are information. */
const TROUBLE = new Set(["level_shift", "trend", "departs_from_peers", "error_ratio", "daily_pattern"]);

function InsightLine({ insight: { type, message, rule, evidence } }: { insight: Insight }) {
  const href = evidence === null ? null : evidenceHref(evidence);
  return (
    <li>
      <StatusMark mark={TROUBLE.has(type) ? "warning" : "info"} />
      <span>
        {message} {href !== null && <a href={href}>Show</a>}{" "}
        {evidence !== null && (
          <a href={evidence} target="_blank" rel="noreferrer">
            Data
          </a>
        )}
        {rule !== "" && (
          <details>
            <summary>Rule</summary>
            {rule}
          </details>
        )}
      </span>
    </li>
  );
}

function PointTable({
  points,
  over,
  step,
  label,
  read,
}: {
  points: Analysis["timeSeries"];
  over: number;
  step: number;
  label: string;
  read: (v: number) => string;
}) {
  const cell = (v: number | null) => (v === null ? f.NONE : read(v));
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
    <section class="scroll" style={{ height: `${HEIGHT}px` }} tabIndex={0} aria-label={`${label}, table`}>
      <table class="t">
        <caption class="sr">{label}, newest first</caption>
        <thead>
          <tr>
            <th scope="col">From</th>
            <th scope="col">Value</th>
            <th scope="col">Smallest second</th>
            <th scope="col">Largest second</th>
          </tr>
        </thead>
        <tbody>
          {[...points].reverse().map((is) => (
            <tr key={is.tick}>
              <td>{f.clockWithin(is.tick, over, step, points[0]?.tick)}</td>
              <td>{is.value === null ? "no data" : read(is.value)}</td>
              <td>{cell(is.min)}</td>
              <td>{cell(is.max)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

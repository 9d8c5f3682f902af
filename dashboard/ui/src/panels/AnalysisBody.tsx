/** The historical analysis of a metric, as a panel and as the page History show it. */
import { StatusMark } from "../components/Icons";
import { TrendChart } from "../components/TrendChart";
import { type Analysis, comparedWords, evidenceHref, type Insight, secondOf } from "../lib/analysis";
import * as f from "../lib/format";
import type { Scale } from "./table";

interface Props {
  answer: Analysis;
  scale: Scale;
  label: string;
  table: boolean;
  height: number;
  /** How a total of it is written, where it has one. */
  sum?: ((v: number) => f.Quantity) | undefined;
  /** Of the period before, by point. */
  before?: readonly (number | null)[] | undefined;
}

/** Its figures, and how it went on. */
export function AnalysisTrend({ answer, scale, label, table, height, sum, before }: Props) {
  const { value, axis, unit, max } = scale;
  const { timeSeries: points, peak, peakAt, lowAt, stepSeconds, total } = answer;
  const over = (points.at(-1)?.tick ?? 0) - (points[0]?.tick ?? 0) + stepSeconds;
  const when = (time: string | null) => (time === null ? "" : `, ${f.clockWithin(secondOf(time), over, 1)}`);
  const read = (v: number) => f.text(value(v));
  const figure = (v: number | null) => value(v ?? Number.NaN);
  return (
    <div class="history-main">
      <dl class="summary">
        {(
          [
            ["Average", figure(answer.average)],
            [`Peak${when(peakAt)}`, figure(peak)],
            [`Low${when(lowAt)}`, figure(answer.low)],
            ["Std dev", figure(answer.standardDeviation)],
            ...(sum && total != null ? [["Total", sum(total)] as const] : []),
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
        <PointTable
          points={points}
          over={over}
          step={stepSeconds}
          label={label}
          read={read}
          height={height}
        />
      ) : (
        <TrendChart
          ticks={points.map((is) => is.tick)}
          step={stepSeconds}
          values={points.map((is) => is.value)}
          low={points.map((is) => is.min)}
          high={points.map((is) => is.max)}
          average={answer.average}
          {...(before && { before })}
          peak={peak === null || peakAt === null ? null : { at: secondOf(peakAt), value: peak }}
          height={height}
          axis={axis}
          read={read}
          unit={unit}
          max={max}
          sentence={`${label} over ${f.lengthInWords(over)}: average ${read(answer.average ?? Number.NaN)}, peak ${f.text(figure(peak))}${when(peakAt)}`}
        />
      )}
    </div>
  );
}

/** The periods before it, and what stands out. */
export function AnalysisSide({ answer, scale: { value } }: Pick<Props, "answer" | "scale">) {
  const { comparisons } = answer;
  return (
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
  height,
}: {
  points: Analysis["timeSeries"];
  over: number;
  step: number;
  label: string;
  read: (v: number) => string;
  height: number;
}) {
  const cell = (v: number | null) => (v === null ? f.NONE : read(v));
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
    <section class="scroll" style={{ height: `${height}px` }} tabIndex={0} aria-label={`${label}, table`}>
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

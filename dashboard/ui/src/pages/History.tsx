/** What any metric was like over any range: its figures, its course beside the period before, and what stands out. */
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { Panel } from "../components/Panel";
import { SeriesCombobox } from "../components/SeriesCombobox";
import { Shell } from "../components/Shell";
import { WhoseSelect } from "../components/Whose";
import { lackText } from "../components/words";
import { type Analysis, movedTo, secondOf, times } from "../lib/analysis";
import { noted } from "../lib/complete";
import { csv } from "../lib/csv";
import { type SeriesLine, type Written, writeLine } from "../lib/explore";
import * as f from "../lib/format";
import { parametersOf, readQuestion, USUAL } from "../lib/historyQuestion";
import { byName, type ListedSeries } from "../lib/listed";
import { save } from "../lib/save";
import { zoneId } from "../lib/zone";
import { AnalysisSide, AnalysisTrend } from "../panels/AnalysisBody";
import { emptyWords } from "../panels/HistoryPanel";
import { SCALES } from "../panels/table";
import { useAnswer } from "../panels/useAnswer";
import { navigateHere, query } from "../state/router";
import { asked } from "../state/timeline";
import { SeriesChoices } from "./ExploreLines";
import { useHosts } from "./hooks";

/** A week by five minutes, which is what the range picker says of it, and the piece at its end. */
const POINTS_MAX = 2_100;
const HEIGHT = 300;
/** The list of series is read again so seldom, seconds. */
const LIST_EVERY = 60;
const ANOTHER = "another";

/** How what is counted is written in all. */
const SUMS: Partial<Record<Written, (v: number) => f.Quantity>> = { rate: f.count, bytesPerSecond: f.bytes };

interface List {
  series: ListedSeries[];
}

export function HistoryPage() {
  const fleet = useHosts().state.value;
  const table = useSignal(false);
  const finding = useSignal(false);
  const of = query.value.get("of") ?? "";
  const [scope, name] = [of.slice(0, of.indexOf(":")), of.slice(of.indexOf(":") + 1)];
  const list = useAnswer<List>(
    `series ${of}`,
    "/api/v1/series",
    { node: scope === "node" ? name : undefined, group: scope === "group" ? name : undefined },
    { every: LIST_EVERY },
  );
  const names = useMemo(() => byName(list.answer?.series ?? []), [list.answer]);
  const question = readQuestion(query.value, (name) => names.find((is) => is.name === name));
  const { series, label, whose, written, factor } = question;
  const usual = USUAL.some(([name]) => name === series.name);
  // Of a series nothing is written before its unit is known.
  const unknown = !usual && list.answer === null && list.problem === null;

  const { from, to, step } = asked.value;
  const seconds = to - from + 1;
  const points = Math.max(2, Math.min(POINTS_MAX, Math.ceil(seconds / step) + 1));
  const over = { ...parametersOf(question), points, timeZone: zoneId() };
  const subject = JSON.stringify(parametersOf(question));
  const path = "/api/v1/metrics/historical";
  const { answer: read, problem } = useAnswer<Analysis>(subject, path, { ...over, from, to });
  const earlier = useAnswer<Analysis>(`before ${subject}`, path, {
    ...over,
    from: from - seconds,
    to: from - 1,
  });
  const answer = read && times(read, factor);
  const before =
    answer && earlier.answer && movedTo(answer.timeSeries, times(earlier.answer, factor), seconds);
  const scale = SCALES[written];

  const complete = answer?.completeness;
  const begins = complete?.firstData ? `data from ${f.dated(secondOf(complete.firstData))} on` : undefined;
  const lacks =
    complete?.missing.map((part) => `without ${part.aggregatorId ?? "a part"}: ${part.reason}`) ?? [];
  const stale = problem !== null && answer !== null ? `not read again: ${problem}` : undefined;
  const empty = answer !== null && answer.average === null;
  const there = answer !== null && !empty && !unknown;
  const show = (line: SeriesLine) => navigateHere({ metric: writeLine({ ...line, whose: "" }) });
  const file = () => {
    if (answer === null) return;
    const { timeSeries } = answer;
    const column = (head: string, values: (number | null)[]) => ({ head, values });
    save(
      "history.csv",
      "text/csv",
      csv(
        timeSeries.map((is) => is.tick),
        [
          column(
            label,
            timeSeries.map((is) => is.value),
          ),
          column(
            "smallest second",
            timeSeries.map((is) => is.min),
          ),
          column(
            "largest second",
            timeSeries.map((is) => is.max),
          ),
          ...(before ? [column("period before", before)] : []),
        ],
      ),
    );
  };
  const by = answer === null ? "" : `by ${f.span(answer.stepSeconds)}`;
  return (
    <Shell title="History">
      <div class="grid explore">
        <Panel
          title={label}
          note={noted(
            whose === "" ? "whole cluster" : name,
            f.lengthInWords(seconds),
            by,
            begins,
            ...lacks,
            stale,
          )}
          width={12}
          controls={
            <button type="button" class="btn s" disabled={!there} onClick={file}>
              CSV
            </button>
          }
          table={{
            on: table.value,
            toggle: () => {
              table.value = !table.value;
            },
          }}
        >
          <div class="explore-add history-asked">
            <select
              class="select"
              aria-label="Metric"
              value={finding.value || !usual ? ANOTHER : series.name}
              onChange={(e) => {
                const next = e.currentTarget.value;
                finding.value = next === ANOTHER;
                if (next !== ANOTHER) navigateHere({ metric: next === USUAL[0][0] ? null : next });
              }}
            >
              {USUAL.map(([name, words]) => (
                <option key={name} value={name}>
                  {words}
                </option>
              ))}
              <option value={ANOTHER}>any series</option>
            </select>
            {(finding.value || !usual) && (
              <SeriesCombobox
                label="Find a series by name, unit or attribute"
                placeholder={usual ? "Name, unit or attribute" : series.name}
                names={list.answer && names}
                problem={list.problem}
                choose={(name) => {
                  finding.value = false;
                  show({ kind: "series", name, attributes: {}, statistic: "", whose: "" });
                }}
              />
            )}
            {!usual && (
              <SeriesChoices
                line={series}
                listed={names.find((is) => is.name === series.name)}
                change={show}
              />
            )}
            <WhoseSelect
              label="Of"
              value={whose}
              choose={(next) => navigateHere({ of: next === "" ? null : next })}
              fleet={fleet}
            />
          </div>
          {there ? (
            <>
              <AnalysisTrend
                answer={answer}
                scale={scale}
                label={label}
                table={table.value}
                height={HEIGHT}
                sum={SUMS[written]}
                before={before ?? undefined}
              />
              {!table.value && (
                <p class="lg trend-legend">
                  <span class="k">
                    <i class="sw ln bar-color" />
                    {label}
                  </span>
                  {answer.timeSeries.some((is) => is.max !== null) && (
                    <span class="k">
                      <i class="sw sw-band" />
                      smallest to largest second of a point
                    </span>
                  )}
                  <span class="k">
                    <i class="sw ln sw-average" />
                    average
                  </span>
                  <span class="k">
                    <i class="sw ln sw-before" />
                    {before?.some((v) => v !== null) ? "the period before" : "the period before: no data"}
                  </span>
                </p>
              )}
            </>
          ) : (
            <p class="absent">
              {lackText.value ??
                (answer === null || unknown ? (problem ?? "Reading.") : emptyWords(label, begins))}
            </p>
          )}
        </Panel>
        {there && (
          <section class="p w12" aria-label="Comparison and insights">
            <div class="body history-insights">
              <AnalysisSide answer={answer} scale={scale} />
            </div>
          </section>
        )}
      </div>
    </Shell>
  );
}

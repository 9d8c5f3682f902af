/** The historical analysis as the server answers it, and what is said of it. Pure. */
import type { Held } from "./complete";
import { known, type Quantity, text } from "./format";

/** What `/api/v1/metrics/historical` answers, as far as it is read. */
export interface Analysis {
  from: string;
  to: string;
  average: number | null;
  peak: number | null;
  peakAt: string | null;
  peakResolutionSeconds: number | null;
  low: number | null;
  lowAt: string | null;
  standardDeviation: number | null;
  /** Of what is counted; null for the others. */
  total?: number | null;
  stepSeconds: number;
  timeSeries: { tick: number; value: number | null; min: number | null; max: number | null }[];
  comparisons: { periodBefore: Compared | null; weekAgo: Compared | null };
  insights: Insight[];
  completeness: Held;
}

/** The same in another unit. */
export function times(answer: Analysis, factor: number): Analysis {
  if (factor === 1) return answer;
  const of = (v: number | null) => (v === null ? null : v * factor);
  const compared = (is: Compared | null) => is && { ...is, average: of(is.average) };
  return {
    ...answer,
    average: of(answer.average),
    peak: of(answer.peak),
    low: of(answer.low),
    standardDeviation: of(answer.standardDeviation),
    total: of(answer.total ?? null),
    timeSeries: answer.timeSeries.map((is) => ({
      ...is,
      value: of(is.value),
      min: of(is.min),
      max: of(is.max),
    })),
    comparisons: {
      periodBefore: compared(answer.comparisons.periodBefore),
      weekAgo: compared(answer.comparisons.weekAgo),
    },
  };
}

/** Values of an earlier answer at the points of a later one, `by` seconds later. */
export function movedTo(
  points: Analysis["timeSeries"],
  earlier: Pick<Analysis, "timeSeries" | "stepSeconds">,
  by: number,
): (number | null)[] {
  const { stepSeconds: step, timeSeries } = earlier;
  const values = new Map(timeSeries.map((is) => [Math.floor((is.tick + by) / step), is.value]));
  return points.map((is) => values.get(Math.floor(is.tick / step)) ?? null);
}

export interface Compared {
  average: number | null;
  changeRatio: number | null;
  countedIn: string;
}

export interface Insight {
  type: string;
  message: string;
  rule: string;
  since: string;
  evidence: string | null;
}

/** Unix second of a time of the server. */
export const secondOf = (time: string) => Math.floor(Date.parse(time) / 1000);

/** "10.6 ms, now 4.2% more"; what it was is not known: "no data". */
export function comparedWords(
  { average, changeRatio }: Compared,
  now: number | null,
  value: (v: number) => Quantity,
): string {
  if (average === null) return "no data";
  const was = text(value(average));
  if (!known(changeRatio) || now === null) return was;
  const size = Math.abs(changeRatio) * 100;
  if (size < 0.05) return `${was}, now the same`;
  const shown = size < 10 ? size.toFixed(1) : size.toFixed(0);
  return `${was}, now ${shown}% ${changeRatio > 0 ? "more" : "less"}`;
}

/** Where the page shows the evidence of an insight: the same seconds, on the page of the node when it is of one. */
export function evidenceHref(evidence: string): string | null {
  const query = new URLSearchParams(evidence.split("?")[1] ?? "");
  const [from, to, node] = [query.get("from"), query.get("to"), query.get("node")];
  if (from === null || to === null) return null;
  const path = node === null ? "/" : `/nodes/${encodeURIComponent(node)}`;
  return `${path}?${new URLSearchParams({ range: "custom", from, to })}`;
}

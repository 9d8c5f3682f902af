/** What the page History is asked for, as it stands in the address. Pure. */
import { axisOf, readLine, type SeriesLine, type Whose, type Written, writeLine } from "./explore";
import type { Listed } from "./listed";

/** The metrics that have a short name at the server. */
export const USUAL = [
  ["latency", "Latency p99", "micros"],
  ["requests", "Requests", "rate"],
  ["errors", "Errors", "rate"],
  ["errorRatio", "Error ratio", "share"],
  ["connections", "Connections", "number"],
  ["cpu", "CPU", "share"],
  ["memory", "Memory", "share"],
] as const satisfies readonly (readonly [string, string, Written])[];

export interface Question {
  /** A short name, or a series. */
  series: SeriesLine;
  /** What it is called. */
  label: string;
  written: Written;
  /** Times the values of the answer. */
  factor: number;
  whose: Whose;
}

const PLAIN = { kind: "series", attributes: {}, statistic: "", whose: "" } as const;

/** The question of an address; `listed` is what is known of the series, to write its values. */
export function readQuestion(query: URLSearchParams, listed: (name: string) => Listed | undefined): Question {
  const text = query.get("metric") ?? USUAL[0][0];
  const [of, line] = [query.get("of") ?? "", readLine(text)];
  const whose = /^(node|group):./.test(of) ? (of as Whose) : "";
  const usual = USUAL.find(([name]) => name === text);
  if (usual || line?.kind !== "series") {
    const [name, label, written] = usual ?? USUAL[0];
    return { series: { ...PLAIN, name }, label, written, factor: 1, whose };
  }
  const known = listed(line.name);
  const statistic = line.statistic || (known?.kind === "histogram" ? "p99" : "");
  const { written, factor } = axisOf(known?.unit ?? "", known?.kind ?? "", statistic, line.name);
  const series = { ...line, statistic, whose: "" as const };
  // The server answers times in microseconds, counters of time too.
  const micros = known?.unit === "s" && written === "number" ? 1e-6 : 1;
  return {
    series,
    label: writeLine(series),
    written,
    factor: written === "micros" ? 1 : factor * micros,
    whose,
  };
}

/** Parameters of `/api/v1/metrics/historical`. */
export function parametersOf({ series, whose }: Question): Record<string, string> {
  const [scope, name] = [whose.slice(0, whose.indexOf(":")), whose.slice(whose.indexOf(":") + 1)];
  return {
    metric: series.name,
    statistic: series.statistic,
    ...Object.fromEntries(
      Object.entries(series.attributes).map(([key, value]) => [`attribute.${key}`, value]),
    ),
    ...(whose !== "" && { [scope]: name }),
  };
}

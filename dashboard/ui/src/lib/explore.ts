/** What Explore is asked to show, as it stands in the address, and what its answers are called. Pure. */

/** Whose values. "" is the whole cluster; `node:web-1`; `group:zone:a`; `each` one line for each node. */
export type Whose = "" | "each" | `node:${string}` | `group:${string}`;

/** A series, or several that differ in attributes that are not named. */
export interface SeriesLine {
  kind: "series";
  name: string;
  /** Those that are asked for; a key that is not named may have any value. */
  attributes: Readonly<Record<string, string>>;
  /** "" for what suits the kind of the series. */
  statistic: string;
  whose: Whose;
  /** Adds up what differs in attributes. Not in the address. */
  total?: true;
}

export interface PromqlLine {
  kind: "promql";
  query: string;
}

export type Line = SeriesLine | PromqlLine;

/** Lines at once: each is a question to the server every 10 s. */
export const LINES_MAX = 12;
/** Drawn of one line: six colours in three patterns are still told apart. */
export const DRAWN_MAX = 18;
/** Nodes that a line of each node shows: the highest. */
export const NODES_MAX = 10;

const PROMQL = "promql ";
const SHAPE =
  /^(?:(?<statistic>\S+) of )?(?<name>[^\s{]+)(?:\{(?<attributes>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?(?: on (?<whose>each|(?:node|group):.+))?$/s;
const ATTRIBUTE = /\s*(?<key>[^\s=",]+)="(?<value>(?:[^"\\]|\\.)*)"\s*(?:,|$)/gsy;

/** `p99 of traffic.duration{protocol="grpc"} on node:web-1`; `promql sum(up)`. */
export function writeLine(line: Line): string {
  if (line.kind === "promql") return PROMQL + line.query;
  const { name, attributes, statistic, whose } = line;
  const pairs = Object.entries(attributes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}="${value.replace(/[\\"]/g, "\\$&")}"`);
  return [
    statistic === "" ? "" : `${statistic} of `,
    name,
    pairs.length === 0 ? "" : `{${pairs.join(",")}}`,
    whose === "" ? "" : ` on ${whose}`,
  ].join("");
}

/** The inverse; null for what is none. */
export function readLine(text: string): Line | null {
  if (text.startsWith(PROMQL)) return { kind: "promql", query: text.slice(PROMQL.length) };
  const found = SHAPE.exec(text)?.groups;
  if (!found?.name) return null;
  const attributes: Record<string, string> = {};
  const inside = found.attributes ?? "";
  ATTRIBUTE.lastIndex = 0;
  while (ATTRIBUTE.lastIndex < inside.length) {
    const pair = ATTRIBUTE.exec(inside)?.groups;
    if (!pair?.key) return null;
    attributes[pair.key] = (pair.value ?? "").replace(/\\(.)/gs, "$1");
  }
  return {
    kind: "series",
    name: found.name,
    attributes,
    statistic: found.statistic ?? "",
    whose: (found.whose ?? "") as Whose,
  };
}

/** The lines of an address. What is none, and what is too many, is left out. */
export function readLines(query: URLSearchParams): Line[] {
  return query
    .getAll("s")
    .map(readLine)
    .filter((line) => line !== null)
    .slice(0, LINES_MAX);
}

/** How values are written: a unit of the page, or counted things. */
export type Written = "number" | "rate" | "bytes" | "bytesPerSecond" | "share" | "micros";

/** How the values of an answer are drawn: in what unit, times what, and what the axis is called. */
export interface Axis {
  /** Series of one key share an axis. */
  key: string;
  written: Written;
  factor: number;
  /** For people: "bytes per second". */
  words: string;
  /** Of the values before the factor, for programs: "By/s". */
  unit: string;
}

const SHARES = /(utilization|ratio|busy|pressure)/;
/** The thing that is counted: `{request}`. */
const THING = /^\{(.+)\}$/;
const SECONDS: Readonly<Record<string, number>> = { s: 1e6, ms: 1e3, us: 1, ns: 1e-3 };

/** Of a series in the unit of OpenTelemetry; counters are answered per second. */
export function axisOf(unit: string, kind: string, statistic: string, name: string): Axis {
  const perSecond = (kind === "counter" && statistic !== "increase") || statistic === "rate";
  const counted = statistic === "count" || statistic === "nodes";
  return {
    ...written(unit, perSecond, statistic, name),
    unit: counted ? "" : unit + (perSecond ? "/s" : ""),
  };
}

function written(unit: string, perSecond: boolean, statistic: string, name: string): Omit<Axis, "unit"> {
  if (statistic === "count" || statistic === "nodes") {
    return {
      key: statistic,
      written: "number",
      factor: 1,
      words: statistic === "nodes" ? "nodes" : "in a point",
    };
  }
  const micros = SECONDS[unit];
  if (micros !== undefined) {
    if (!perSecond) return { key: "time", written: "micros", factor: micros, words: "time" };
    const factor = micros / 1e6;
    return { key: "seconds/s", written: "number", factor, words: "seconds in a second" };
  }
  if (unit === "By" || unit === "By/s") {
    const rate = perSecond || unit === "By/s";
    const words = rate ? "bytes per second" : "bytes";
    return { key: words, written: rate ? "bytesPerSecond" : "bytes", factor: 1, words };
  }
  if (unit === "1" && !perSecond && SHARES.test(name)) {
    return { key: "share", written: "share", factor: 1, words: "share" };
  }
  const thing = THING.exec(unit)?.[1] ?? (unit === "1" ? "" : unit);
  const words = [thing, perSecond ? "per second" : ""].filter(Boolean).join(" ") || "number";
  return { key: words, written: perSecond ? "rate" : "number", factor: 1, words };
}

/** What a query answers has no unit that is known. */
export const PROMQL_AXIS: Axis = {
  key: "promql",
  written: "number",
  factor: 1,
  words: "as the queries give them",
  unit: "",
};

/** What tells a drawn series from the others. */
export interface Told {
  name: string;
  statistic: string;
  attributes: Readonly<Record<string, string>>;
  whose: string;
}

/** Labels that say no more than tells them apart; of a single one its name. */
export function labelsOf(all: readonly Told[]): string[] {
  const same = (of: (is: Told) => string) => new Set(all.map(of)).size < 2;
  const keys = [...new Set(all.flatMap((is) => Object.keys(is.attributes)))].sort();
  const differing = keys.filter((key) => !same((is) => is.attributes[key] ?? ""));
  const [sameName, sameStatistic, sameWhose] = [
    same((is) => is.name),
    same((is) => is.statistic),
    same((is) => is.whose),
  ];
  return all.map((is) => {
    const parts = [
      sameStatistic ? "" : is.statistic,
      sameName ? "" : is.name,
      ...differing.map((key) => is.attributes[key] ?? ""),
      sameWhose ? "" : is.whose || "cluster",
    ].filter(Boolean);
    return parts.length > 0
      ? parts.join(" ")
      : [is.statistic, is.name].filter(Boolean).join(" of ") || is.whose;
  });
}

/** Where in a query the server found a mistake: `1:4: parse error` is the 4th sign of the first line. */
export function placeOf(problem: string): { line: number; column: number } | null {
  const found = /^(\d+):(\d+): /.exec(problem);
  return found ? { line: Number(found[1]), column: Number(found[2]) } : null;
}

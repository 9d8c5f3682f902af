/** Filtering and sorting of nodes: the same words for the map and the table. */

/** One node as a row. NaN means not reported. */
export interface NodeRow {
  id: string;
  /** What operators call it, by key. */
  labels: Readonly<Record<string, string>>;
  simulated: boolean;
  state: "reporting" | "silent" | "stopped" | "unknown";
  silentSeconds: number;
  /** Who else has its name, why it is silent, or what its daemon cannot read; empty when there is nothing to say. */
  note: string;
  /** Another machine calls itself so. */
  clash: boolean;
  cpu: number;
  memory: number;
  requests: number;
  errors: number;
  p99: number;
  load: number;
  connections: number;
  cores: number;
  aggregator: string;
}

/** Value of a label; empty when the node does not carry it. */
export function labelOf(row: NodeRow, key: string): string {
  // A key may be a word that every object knows.
  return Object.hasOwn(row.labels, key) ? (row.labels[key] ?? "") : "";
}

/** A column of a label is named so before its key. */
const LABEL = "label:";

/** A label as a column. */
export function labelColumn(key: string): SortKey {
  return `${LABEL}${key}`;
}

/** Columns the table can be sorted by: a field or a label. */
export type SortKey = Exclude<keyof NodeRow, "labels" | "note" | "clash"> | `${typeof LABEL}${string}`;

/** Value of a column. */
function cellOf(row: NodeRow, key: SortKey): NodeRow[Exclude<keyof NodeRow, "labels" | "note" | "clash">] {
  return key.startsWith(LABEL)
    ? labelOf(row, key.slice(LABEL.length))
    : row[key as Exclude<keyof NodeRow, "labels">];
}

/** Column and direction; in the address as "cpu" or "-cpu". */
export interface Sort {
  key: SortKey;
  descending: boolean;
}

const KEYS: readonly SortKey[] = [
  "id",
  "state",
  "cpu",
  "memory",
  "requests",
  "errors",
  "p99",
  "load",
  "connections",
  "cores",
  "aggregator",
];

/** Reads a sort from the address; by name when it says nothing known. */
export function parseSort(s: string | null): Sort {
  const descending = s?.startsWith("-") ?? false;
  const name = (descending ? s?.slice(1) : s) ?? "";
  const key = name.startsWith(LABEL) ? (name as SortKey) : KEYS.find((k) => k === name);
  return key ? { key, descending } : { key: "id", descending: false };
}

/** The inverse of `parseSort`. Null for the default order. */
export function formatSort(s: Sort): string | null {
  const t = (s.descending ? "-" : "") + s.key;
  return t === "id" ? null : t;
}

/** Order of `rows` as indexes. Missing values come last in both directions; ties are broken by name. */
export function sortedIndexes(rows: readonly NodeRow[], { key, descending }: Sort): number[] {
  const sign = descending ? -1 : 1;
  const at = (i: number) => rows[i] as NodeRow;
  const named = (a: number, b: number) => at(a).id.localeCompare(at(b).id, "en", { numeric: true });
  return rows
    .map((_, i) => i)
    .sort((a, b) => {
      const x = cellOf(at(a), key);
      const y = cellOf(at(b), key);
      if (typeof x === "number" && typeof y === "number") {
        if (Number.isNaN(x) || Number.isNaN(y)) {
          return Number.isNaN(x) === Number.isNaN(y) ? named(a, b) : Number.isNaN(x) ? 1 : -1;
        }
        return (x - y) * sign || named(a, b);
      }
      if (x === "" || y === "") return x === y ? named(a, b) : x === "" ? 1 : -1;
      return String(x).localeCompare(String(y), "en", { numeric: true }) * sign || named(a, b);
    });
}

const DURATIONS: Record<string, number> = { us: 1, µs: 1, ms: 1e3, s: 1e6 };

/** Base-unit value of "85%", "50ms", "2k": shares as 0 to 1, durations in microseconds. Null when it is none. */
function parseValue(key: string, raw: string): number | null {
  const m = /^([\d.]+)(%|us|µs|ms|s|k|m|g)?$/i.exec(raw);
  if (!m) return null;
  const n = Number(m[1]);
  const unit = (m[2] ?? "").toLowerCase();
  if (key === "p99") return n * (DURATIONS[unit] ?? 1e3);
  // A share may be written 85, 85% or 0.85.
  if (key === "cpu" || key === "memory") return unit === "%" || n > 1 ? n / 100 : n;
  return n * ({ k: 1e3, m: 1e6, g: 1e9 }[unit] ?? 1);
}

const NUMBERS = ["cpu", "memory", "requests", "errors", "p99", "load", "connections", "cores"] as const;
const WORDS = ["state", "aggregator"] as const;

/** The term of a filter for a value of a label. */
export function labelTerm(key: string, value: string): string {
  return /\s/.test(key + value) ? `"${key}:${value}"` : `${key}:${value}`;
}

/** What a filter means, and what of it means nothing. */
export interface Filter {
  match: (row: NodeRow) => boolean;
  /** In words; null when all of it is understood. */
  problem: string | null;
}

/** A part of a filter: text, as it was typed, and whether it stood in quotes. */
const TERM = /(-?)(?:"([^"]*)"|([\p{L}\p{N}_.]+)\s*(>=|<=|!=|=|>|<)\s*("[^"]*"|\S+)|(\S+))/gu;

/**
 * A filter from text such as `zone:b p99>50ms -state:silent web`. Every term must hold; `-` before one turns it round.
 * `key:value` and `key=value` are any label of the nodes, `key!=value` its opposite; with spaces they stand in quotes. A word
 * is looked for in the name, a quoted one is the whole name or label. Nothing is a pattern.
 */
export function readFilter(query: string): Filter {
  let problem: string | null = null;
  const terms: ((row: NodeRow) => boolean)[] = [];
  for (const [, minus, quoted, key, sign, value, word] of query.matchAll(TERM)) {
    let term: ((row: NodeRow) => boolean) | null;
    if (quoted !== undefined) term = quoted === "" ? null : exactly(quoted);
    else if (key !== undefined && sign !== undefined && value !== undefined) {
      const plain = value.replace(/^"|"$/g, "");
      const compared = compare(key, sign, plain);
      if (typeof compared === "string") {
        problem ??= compared;
        continue;
      }
      term = compared;
    } else term = word === undefined || word === '"' ? null : named(word.replace(/^"/, ""));
    if (term === null) continue;
    const is = term;
    terms.push(minus === "-" ? (row) => !is(row) : is);
  }
  return { match: (row) => terms.every((is) => is(row)), problem };
}

/** The same without what it says of mistakes. */
export const parseFilter = (query: string) => readFilter(query).match;

/** A comparison, or what is wrong with it. */
function compare(key: string, sign: string, value: string): ((row: NodeRow) => boolean) | string {
  const lower = key.toLowerCase();
  const number = NUMBERS.find((is) => is === lower);
  if (number === undefined) {
    if (sign === "=" || sign === "!=") {
      const is = holds(key, value);
      return sign === "=" ? is : (row) => !is(row);
    }
    return `${key} is no number that nodes have: there are ${NUMBERS.join(", ")}`;
  }
  const limit = parseValue(number, value);
  if (limit === null)
    return `${key}${sign}${value} wants a number, such as ${EXAMPLES[number] ?? `${key}>10`}`;
  switch (sign) {
    case ">":
      return (row) => row[number] > limit;
    case "<":
      return (row) => row[number] < limit;
    case ">=":
      return (row) => row[number] >= limit;
    case "<=":
      return (row) => row[number] <= limit;
    case "=":
      return (row) => row[number] === limit;
    default:
      return (row) => row[number] !== limit;
  }
}

const EXAMPLES: Readonly<Record<string, string>> = { cpu: "cpu>80%", memory: "memory>80%", p99: "p99>50ms" };

/** A state, an aggregator or a label. */
function holds(key: string, value: string): (row: NodeRow) => boolean {
  const want = value.toLowerCase();
  const word = WORDS.find((is) => is === key.toLowerCase());
  return word ? (row) => row[word].toLowerCase() === want : (row) => labelOf(row, key).toLowerCase() === want;
}

/** `key:value`, or a part of the name. */
function named(word: string): (row: NodeRow) => boolean {
  const want = word.toLowerCase();
  const inName = (row: NodeRow) => row.id.toLowerCase().includes(want);
  const pair = /^([^:]+):(.+)$/.exec(word);
  if (pair === null) return inName;
  const is = holds(pair[1] as string, pair[2] as string);
  // A name may hold a colon.
  return WORDS.some((word) => word === pair[1]?.toLowerCase()) ? is : (row) => is(row) || inName(row);
}

/** The whole name, or a label with its value. */
function exactly(quoted: string): (row: NodeRow) => boolean {
  const want = quoted.toLowerCase();
  const pair = /^([^:]+):(.+)$/s.exec(quoted);
  const is = pair && holds(pair[1] as string, pair[2] as string);
  return (row) => row.id.toLowerCase() === want || (is?.(row) ?? false);
}

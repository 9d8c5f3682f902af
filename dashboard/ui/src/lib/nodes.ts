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
  return row.labels[key] ?? "";
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

/**
 * A filter from text such as `zone:b p99>50ms state:silent web`. Every term must hold; one with spaces stands in
 * quotes. `key:value` is any label of the nodes. A term that is not understood is looked for in the name.
 */
export function parseFilter(query: string): (row: NodeRow) => boolean {
  const terms = (query.match(/"[^"]*"|\S+/g) ?? [])
    .map((term) => term.replace(/^"|"$/g, ""))
    .filter((t) => t !== "")
    .map((term): ((row: NodeRow) => boolean) => {
      const word = /^([^:]+):(.+)$/.exec(term);
      const key = WORDS.find((w) => w === word?.[1]?.toLowerCase());
      if (word) {
        const label = word[1] as string;
        const want = (word[2] as string).toLowerCase();
        if (key) return (row) => row[key].toLowerCase() === want;
        return (row) =>
          labelOf(row, label).toLowerCase() === want || row.id.toLowerCase().includes(term.toLowerCase());
      }
      const compare = /^([a-z0-9]+)([<>])=?(.+)$/i.exec(term);
      const number = NUMBERS.find((w) => w === compare?.[1]?.toLowerCase());
      const limit = number && compare ? parseValue(number, compare[3] as string) : null;
      if (number && compare && limit !== null) {
        return compare[2] === ">" ? (row) => row[number] > limit : (row) => row[number] < limit;
      }
      const want = term.toLowerCase();
      return (row) => row.id.toLowerCase().includes(want);
    });
  return (row) => terms.every((t) => t(row));
}

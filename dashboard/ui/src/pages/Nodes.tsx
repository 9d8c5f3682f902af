/** The fleet as a table: everything the host map shows, sortable and readable without the picture. */
import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Fleet } from "../api/fleet";
import { StatusMark } from "../components/Icons";
import { Shell } from "../components/Shell";
import { CONNECTING, lackText, NO_NODE, rowMark, stateText } from "../components/words";
import * as f from "../lib/format";
import {
  formatSort,
  labelColumn,
  labelOf,
  type NodeRow,
  parseFilter,
  parseSort,
  type SortKey,
  sortedIndexes,
} from "../lib/nodes";
import { density } from "../state/preferences";
import { nodeHref, query, setQuery } from "../state/router";
import { pausedAt } from "../state/timeline";
import { useHosts } from "./hooks";

/** Heights of a row, pixels: with the border, as `table.css` has them. */
const ROWS = { usual: 27, compact: 21 };
/** Tables up to this size are drawn whole. */
const WHOLE_MAX = 200;

interface Column {
  key: SortKey;
  label: string;
  /** Numbers are first sorted from the largest. */
  number: boolean;
  text: (r: NodeRow) => string;
}

const percent = (v: number) => f.text(f.percent(v));

const COLUMNS: readonly Column[] = [
  { key: "state", label: "State", number: false, text: stateText },
  { key: "cpu", label: "CPU", number: true, text: (r) => percent(r.cpu) },
  { key: "memory", label: "Memory", number: true, text: (r) => percent(r.memory) },
  { key: "requests", label: "Req/s", number: true, text: (r) => f.text(f.count(r.requests)) },
  { key: "errors", label: "Err/s", number: true, text: (r) => f.text(f.count(r.errors)) },
  { key: "p99", label: "p99", number: true, text: (r) => f.text(f.micros(r.p99)) },
  { key: "load", label: "Load", number: true, text: (r) => f.significant(r.load) },
  { key: "connections", label: "Conns", number: true, text: (r) => f.text(f.count(r.connections)) },
  { key: "cores", label: "Cores", number: true, text: (r) => f.grouped(r.cores) },
  { key: "aggregator", label: "Aggregator", number: false, text: (r) => r.aggregator || f.NONE },
];

/** A label as a column, behind the numbers: those fit a phone. */
function columnOf(key: string): Column {
  return { key: labelColumn(key), label: key, number: false, text: (r) => labelOf(r, key) || f.NONE };
}

function Header({ column, sort }: { column: Pick<Column, "key" | "label" | "number">; sort: string | null }) {
  const now = parseSort(sort);
  const active = now.key === column.key;
  const next = active
    ? { key: column.key, descending: !now.descending }
    : { key: column.key, descending: column.number };
  return (
    <th
      scope="col"
      class={column.number ? "" : "tx"}
      aria-sort={active ? (now.descending ? "descending" : "ascending") : undefined}
    >
      <button type="button" onClick={() => setQuery("sort", formatSort(next))}>
        {column.label}
        <span aria-hidden="true">{active ? (now.descending ? " ↓" : " ↑") : ""}</span>
      </button>
    </th>
  );
}

function Row({ row, columns }: { row: NodeRow; columns: readonly Column[] }) {
  return (
    <tr class={row.state === "reporting" ? "" : "dim"}>
      <th scope="row">
        <a href={nodeHref(row.id)}>{row.id}</a>
        {row.simulated && <span class="sample">simulated</span>}
      </th>
      {columns.map((c) => (
        <td key={c.key} class={c.number ? "" : "tx"}>
          {c.key === "state" && <StatusMark mark={rowMark(row)} />}
          {c.text(row)}
          {c.key === "state" && row.note !== "" && (
            <span class={row.clash ? "why crit" : "why"} title={row.note}>
              {row.note}
            </span>
          )}
        </td>
      ))}
    </tr>
  );
}

function Table({ fleet }: { fleet: Fleet }) {
  const sort = query.value.get("sort");
  const q = query.value.get("q") ?? "";
  const hovered = useSignal(false);
  const range = useSignal({ first: 0, last: 60 });
  const body = useRef<HTMLTableSectionElement>(null);
  const kept = useRef<{ key: string; ids: string[] }>({ key: "", ids: [] });

  const byId = useMemo(() => new Map(fleet.rows.map((r) => [r.id, r])), [fleet]);
  const match = useMemo(() => parseFilter(q), [q]);
  const key = `${sort}/${q}/${fleet.dictionaryVersion}`;
  // Under the pointer, and while paused, rows keep their places; values change all the same.
  const hold = (hovered.value || pausedAt.value !== null) && kept.current.key === key;
  if (!hold) {
    const rows = fleet.rows.filter(match);
    kept.current = { key, ids: sortedIndexes(rows, parseSort(sort)).map((i) => (rows[i] as NodeRow).id) };
  }
  const { ids } = kept.current;
  const whole = ids.length <= WHOLE_MAX;
  const tall = ROWS[density.value.value];

  useEffect(() => {
    if (whole) return;
    const measure = () => {
      const top = body.current?.getBoundingClientRect().top ?? 0;
      const first = Math.max(0, Math.floor(-top / tall) - 20);
      const last = first + Math.ceil(window.innerHeight / tall) + 40;
      if (first !== range.peek().first || last !== range.peek().last) range.value = { first, last };
    };
    measure();
    window.addEventListener("scroll", measure, { passive: true });
    window.addEventListener("resize", measure);
    return () => {
      window.removeEventListener("scroll", measure);
      window.removeEventListener("resize", measure);
    };
  }, [whole, tall]);

  const first = whole ? 0 : Math.min(range.value.first, Math.max(0, ids.length - 1));
  const last = whole ? ids.length : Math.min(ids.length, range.value.last);
  const columns = useMemo(() => [...COLUMNS, ...fleet.labels.map(columnOf)], [fleet.labels]);
  return (
    <section class="p w12" aria-label="Nodes">
      <p class="table-note">
        {q === ""
          ? f.plural(ids.length, "node")
          : `${f.grouped(ids.length)} of ${f.plural(fleet.rows.length, "node")} match `}
        {q !== "" && <code>{q}</code>}
        {q !== "" && (
          <button type="button" class="lk" onClick={() => setQuery("q", null)}>
            Clear
          </button>
        )}
        {fleet.labelsLeftOut > 0 && (
          <span class="mute">{f.plural(fleet.labelsLeftOut, "label")} of few nodes left out</span>
        )}
        <span class="mute hint">
          Filter with words and limits: zone:b state:silent cpu&gt;80% p99&gt;50ms
        </span>
      </p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard */}
      <section class="wide" tabIndex={0} aria-label="Table of nodes">
        <table
          class="t nodes"
          aria-rowcount={ids.length + 1}
          onPointerEnter={() => {
            hovered.value = true;
          }}
          onPointerLeave={() => {
            hovered.value = false;
          }}
        >
          <thead>
            <tr>
              <Header column={{ key: "id", label: "Node", number: false }} sort={sort} />
              {columns.map((c) => (
                <Header key={c.key} column={c} sort={sort} />
              ))}
            </tr>
          </thead>
          <tbody ref={body}>
            {first > 0 && <tr style={{ height: `${first * tall}px` }} />}
            {ids.slice(first, last).map((id) => {
              const row = byId.get(id);
              return row ? <Row key={id} row={row} columns={columns} /> : null;
            })}
            {last < ids.length && <tr style={{ height: `${(ids.length - last) * tall}px` }} />}
          </tbody>
        </table>
      </section>
      {ids.length === 0 && (
        <p class="absent">
          {fleet.rows.length === 0 ? (lackText.value ?? NO_NODE) : "No node matches the filter."}
        </p>
      )}
    </section>
  );
}

export function NodesPage() {
  const hosts = useHosts();
  const fleet = hosts.state.value;
  return (
    <Shell title="Nodes">
      <div class="grid">
        {fleet ? (
          <Table fleet={fleet} />
        ) : (
          <section class="p w12" aria-label="Nodes">
            <p class="absent">{lackText.value ?? CONNECTING}</p>
          </section>
        )}
      </div>
    </Shell>
  );
}

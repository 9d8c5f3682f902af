/** The fleet as a table: everything the host map shows, sortable and readable without the picture. */
import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Fleet } from "../api/fleet";
import { StatusMark } from "../components/Icons";
import { Shell } from "../components/Shell";
import { CONNECTING, lackText, NO_NODE, rowMark, stateText } from "../components/words";
import * as f from "../lib/format";
import { lazy } from "../lib/lazy";
import {
  formatSort,
  labelColumn,
  labelOf,
  type NodeRow,
  parseSort,
  readFilter,
  type SortKey,
  sortedIndexes,
} from "../lib/nodes";
import { HostsPanel } from "../panels/HostsPanel";
import { live } from "../state/page";
import { density } from "../state/preferences";
import { navigateHereAll, nodeHref, query, setQuery } from "../state/router";
import { pausedAt } from "../state/timeline";
import { useHosts } from "./hooks";

/** Heights of a row, pixels: with the border, as `table.css` has them. */
const ROWS = { usual: 27, compact: 21 };
/** Nodes that stand beside each other at most. */
const COMPARED_MAX = 4;

/** Those that the address compares. */
const compared = () => query.value.getAll("compare").slice(0, COMPARED_MAX);

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
  { key: "connections", label: "Sockets", number: true, text: (r) => f.text(f.count(r.connections)) },
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

/** Chooses a node for the comparison. */
function Pick({ id, picked, tab }: { id: string; picked: readonly string[]; tab: 0 | -1 }) {
  const on = picked.includes(id);
  return (
    <input
      type="checkbox"
      tabIndex={tab}
      aria-label={`Compare ${id}`}
      title={picked.length >= COMPARED_MAX && !on ? `${COMPARED_MAX} are compared at most` : "Compare"}
      checked={on}
      disabled={!on && picked.length >= COMPARED_MAX}
      onChange={() => {
        // Those of now: another may have been picked since this row was drawn.
        const now = compared();
        navigateHereAll("compare", now.includes(id) ? now.filter((is) => is !== id) : [...now, id]);
      }}
    />
  );
}

function Row({
  row,
  columns,
  picked,
  tab,
}: {
  row: NodeRow;
  columns: readonly Column[];
  picked: readonly string[];
  /** One row is a stop of the Tab key; arrows move between rows. */
  tab: 0 | -1;
}) {
  return (
    <tr class={row.state === "reporting" ? "" : "dim"} data-node={row.id}>
      <th scope="row">
        <Pick id={row.id} picked={picked} tab={tab} />
        <a href={nodeHref(row.id)} title={row.id} tabIndex={tab}>
          <bdi>{f.middle(row.id)}</bdi>
        </a>
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

const rowOf = (target: EventTarget | null) =>
  target instanceof HTMLElement ? target.closest<HTMLElement>("tr[data-node]") : null;

/** Up and down lead to the same thing of the next row, Home and End to the first and last one that is drawn. */
function moveRow(e: KeyboardEvent): boolean {
  const row = rowOf(e.target);
  const kind = (e.target as HTMLElement).tagName;
  const rows = [...(row?.parentElement?.querySelectorAll<HTMLElement>("tr[data-node]") ?? [])];
  const here = row === null ? -1 : rows.indexOf(row);
  const to = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: rows.length - 1 }[e.key];
  if (here < 0 || to === undefined) return false;
  rows[to]?.querySelector<HTMLElement>(kind)?.focus();
  return true;
}

function Table({ fleet }: { fleet: Fleet }) {
  const sort = query.value.get("sort");
  const q = query.value.get("q") ?? "";
  const hovered = useSignal(false);
  const range = useSignal({ first: 0, last: 60 });
  const body = useRef<HTMLTableSectionElement>(null);
  const kept = useRef<{ key: string; ids: string[] }>({ key: "", ids: [] });

  const byId = useMemo(() => new Map(fleet.rows.map((r) => [r.id, r])), [fleet]);
  const { match, problem } = useMemo(() => readFilter(q), [q]);
  const key = `${sort}/${q}/${fleet.dictionaryVersion}`;
  // Under the pointer, and while paused, rows keep their places; values change all the same.
  const hold = (hovered.value || pausedAt.value !== null) && kept.current.key === key;
  if (!hold) {
    const rows = fleet.rows.filter(match);
    kept.current = { key, ids: sortedIndexes(rows, parseSort(sort)).map((i) => (rows[i] as NodeRow).id) };
  }
  const { ids } = kept.current;
  const picked = compared();
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
  const at = useSignal("");
  const shownIds = ids.slice(first, last);
  const stop = shownIds.includes(at.value) ? at.value : (shownIds[0] ?? "");
  // A head stays in sight where the table is not scrolled sideways: one that is would have to scroll by itself.
  const wide = useRef<HTMLElement>(null);
  const fits = useSignal(false);
  useEffect(() => {
    const element = wide.current;
    const table = element?.querySelector("table");
    if (!element || !table) return;
    const look = new ResizeObserver(() => {
      fits.value = table.offsetWidth <= element.clientWidth;
    });
    look.observe(element);
    look.observe(table);
    return () => look.disconnect();
  }, []);
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
        {problem !== null && (
          <span class="warn" role="alert">
            {problem}
          </span>
        )}
        {fleet.labelsLeftOut > 0 && (
          <span class="mute">{f.plural(fleet.labelsLeftOut, "label")} of few nodes left out</span>
        )}
        <span class="mute hint">
          Filter with words and limits: zone:b -state:silent cpu &gt; 80% p99&gt;50ms. Arrow keys move between
          rows
        </span>
      </p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard */}
      <section class={fits.value ? "wide fits" : "wide"} ref={wide} tabIndex={0} aria-label="Table of nodes">
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
          <tbody
            ref={body}
            onFocusIn={(e) => {
              const id = rowOf(e.target)?.dataset.node;
              if (id !== undefined) at.value = id;
            }}
            onKeyDown={(e) => {
              if (moveRow(e)) e.preventDefault();
            }}
          >
            {first > 0 && <tr style={{ height: `${first * tall}px` }} />}
            {shownIds.map((id) => {
              const row = byId.get(id);
              return row ? (
                <Row key={id} row={row} columns={columns} picked={picked} tab={id === stop ? 0 : -1} />
              ) : null;
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

/** The part of the fleet that the filter leaves. */
function filtered(fleet: Fleet, q: string): Fleet {
  const rows = fleet.rows.filter(readFilter(q).match);
  return rows.length === fleet.rows.length
    ? fleet
    : { ...fleet, rows, part: rows.map((row) => row.id).join() };
}

/** The map of what the filter leaves, unless it is hidden. */
function FleetMap({ fleet }: { fleet: Fleet }) {
  const q = query.value.get("q") ?? "";
  const part = filtered(fleet, q);
  const hidden = query.value.get("map") === "hidden";
  const toggle = (
    <button
      type="button"
      class="btn s"
      aria-expanded={!hidden}
      onClick={() => setQuery("map", hidden ? null : "hidden")}
    >
      {hidden ? "Show the map" : "Hide the map"}
    </button>
  );
  if (hidden) return <p class="w12 map-hidden">{toggle}</p>;
  return (
    <HostsPanel
      fleet={part}
      alerts={live.overview.state.value?.alerts}
      waiting={CONNECTING}
      width={12}
      {...(part !== fleet && { of: fleet.rows.length })}
      controls={toggle}
    />
  );
}

const comparison = lazy(() => import("./Compare"));

function Comparison({ fleet, ids }: { fleet: Fleet; ids: readonly string[] }) {
  useEffect(comparison.load, []);
  const part = comparison.part.value;
  return part ? <part.Compare fleet={fleet} ids={ids} /> : null;
}

export function NodesPage() {
  const hosts = useHosts();
  const fleet = hosts.state.value;
  const ids = compared();
  return (
    <Shell title="Nodes">
      <div class="grid">
        {fleet && ids.length > 0 && <Comparison fleet={fleet} ids={ids} />}
        {fleet && fleet.rows.length > 1 && <FleetMap fleet={fleet} />}
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

/** Starling's own aggregators: how they are, and which nodes report to which. */
import type { Fleet } from "../api/fleet";
import { FactList } from "../components/FactList";
import { type Mark, StatusMark } from "../components/Icons";
import { Panel } from "../components/Panel";
import { Shell } from "../components/Shell";
import { WideTable } from "../components/WideTable";
import { CONNECTING, lackText, rowMark } from "../components/words";
import type { Aggregators } from "../gen/starling/live/v1/live_pb";
import { type Aggregator, AggregatorState } from "../gen/starling/v1/cluster_pb";
import * as f from "../lib/format";
import { OwnRequests } from "../panels/OwnRequests";
import { ageSeconds, live, newest, standing } from "../state/page";
import { nodeHref } from "../state/router";
import { HistoryTable } from "./HistoryTable";
import { useHosts } from "./hooks";

/** How each state is marked and called. */
const STATES: Record<AggregatorState, readonly [Mark, string]> = {
  [AggregatorState.UNSPECIFIED]: ["silent", "unknown"],
  [AggregatorState.JOINING]: ["info", "joining"],
  [AggregatorState.READY]: ["ok", "ready"],
  [AggregatorState.LEAVING]: ["stopped", "leaving"],
  [AggregatorState.DEAD]: ["critical", "dead"],
};

/** Nodes named in one panel; a link leads to the rest. */
const NAMES_MAX = 60;

const seconds = (v: number | undefined) => (f.known(v) ? `${v.toFixed(1)}${f.THIN}s` : f.NONE);

/** Seconds between the newest second an aggregator closed and the server's present. Undefined when it closed none yet. */
function behind({ closedTick }: Aggregator, serverTimeUnixMs: number): number | undefined {
  return closedTick > 0 ? Math.max(0, serverTimeUnixMs / 1000 - closedTick) : undefined;
}

/** How an aggregator is doing; a state of a newer one is not known. */
function AggregatorMark({ state }: { state: AggregatorState }) {
  const [mark, word] = STATES[state] ?? STATES[AggregatorState.UNSPECIFIED];
  return (
    <>
      <StatusMark mark={mark} /> {word}
    </>
  );
}

/** The cluster in one line of facts. */
function Summary({ state }: { state: Aggregators }) {
  const complete = live.overview.state.value?.completeness;
  const hello = live.hello.value;
  const stale = standing.value === "stale";
  const ready = state.aggregators.filter((a) => a.state === AggregatorState.READY).length;
  const well = ready === state.aggregators.length;
  const facts: [string, string][] = [];
  if (complete) {
    facts.push(
      [
        "Nodes reporting",
        `${f.grouped(complete.nodesReporting ?? 0)} of ${f.grouped(complete.nodesExpected ?? 0)}`,
      ],
      [
        "Stored on",
        `${f.plural(complete.copies, "aggregator")}, ${complete.copiesOnDisk ? f.plural(complete.copiesOnDisk, "disk") : "no disk"}`,
      ],
      stale ? ["Data age", f.span(ageSeconds.value)] : ["Data delay", seconds((complete.ageMs ?? 0) / 1000)],
    );
  }
  if (state.connectedTo !== "") facts.push(["This page reads", state.connectedTo]);
  if (hello) facts.push(["Dashboard", hello.version]);
  return (
    <>
      <section class="verdict" aria-label="Cluster state">
        {stale ? (
          <span class="state mute">
            <StatusMark mark="silent" />
            Stale
          </span>
        ) : (
          <span class={`state ${well ? "ok" : "warn"}`}>
            <StatusMark mark={well ? "ok" : "warning"} />
            {ready} of {f.plural(state.aggregators.length, "aggregator")} ready
          </span>
        )}
        {stale && (
          <p>
            As of {f.clock(newest.value)}: {ready} of {f.plural(state.aggregators.length, "aggregator")}{" "}
            ready.
          </p>
        )}
      </section>
      <FactList class="facts" facts={facts} />
    </>
  );
}

const COLUMNS = [
  ["Aggregator", "tx"],
  ["State", "tx"],
  ["gRPC address", "tx"],
  ["Version", "tx"],
  ["Nodes connected"],
  ["Behind"],
] as const;

function Table({ state }: { state: Aggregators }) {
  return (
    <WideTable label="Table of aggregators" columns={COLUMNS}>
      {state.aggregators.map((a) => (
        <tr key={a.aggregatorId}>
          <th scope="row">
            {a.aggregatorId}
            {a.aggregatorId === state.connectedTo && <span class="sample">this page reads here</span>}
          </th>
          <td class="tx">
            <AggregatorMark state={a.state} />
          </td>
          <td class="tx">{a.grpcAddress}</td>
          <td class="tx">{a.version}</td>
          <td>{f.grouped(a.connectedNodes)}</td>
          <td>{seconds(behind(a, state.serverTimeUnixMs))}</td>
        </tr>
      ))}
    </WideTable>
  );
}

/** The nodes that one aggregator owns. */
function Owned({ id, fleet, width }: { id: string; fleet: Fleet; width: 4 | 12 }) {
  const rows = fleet.rows.filter((r) => r.aggregator === id);
  const shown = rows.slice(0, NAMES_MAX);
  const all = `/nodes?q=aggregator:${encodeURIComponent(id)}`;
  return (
    <Panel
      title={`Nodes at ${id}`}
      note={f.grouped(rows.length)}
      width={width}
      controls={
        rows.length > 0 && (
          <a class="btn s" href={all}>
            View in table
          </a>
        )
      }
    >
      {rows.length === 0 ? (
        <p class="absent">No node reports here now.</p>
      ) : (
        <ul class="names">
          {shown.map((r) => (
            <li key={r.id}>
              <a href={nodeHref(r.id)}>
                <StatusMark mark={rowMark(r)} />
                {r.id}
              </a>
            </li>
          ))}
          {rows.length > shown.length && (
            <li>
              <a href={all}>{f.grouped(rows.length - shown.length)} more</a>
            </li>
          )}
        </ul>
      )}
    </Panel>
  );
}

export function ClusterPage() {
  const view = live.aggregators;
  const fleet = useHosts().state.value;
  const state = view.state.value;
  const rows = state?.aggregators ?? [];
  return (
    <Shell title="Cluster">
      {state && rows.length > 0 && <Summary state={state} />}
      <div class="grid">
        <Panel title="Aggregators" note={live.hello.value?.cluster || "no cluster yet"} width={12}>
          {state && rows.length > 0 ? (
            <Table state={state} />
          ) : (
            <p class="absent">{lackText.value ?? CONNECTING}</p>
          )}
        </Panel>
        {state && rows.some((a) => a.historyStore) && (
          <Panel title="History on disk" note="how far back each tier reaches" width={12}>
            <HistoryTable state={state} />
          </Panel>
        )}
        {rows.length > 0 && <OwnRequests />}
        {fleet &&
          rows.map((a) => (
            <Owned
              key={a.aggregatorId}
              id={a.aggregatorId}
              fleet={fleet}
              width={rows.length === 1 ? 12 : 4}
            />
          ))}
      </div>
    </Shell>
  );
}

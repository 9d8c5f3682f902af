/** How well the TCP connections of the cluster or of one node are in the newest second. */
import { useSignal } from "@preact/signals";
import type { LiveView } from "../api/view";
import { FactList } from "../components/FactList";
import { type Mark, StatusMark } from "../components/Icons";
import { Absent, Panel } from "../components/Panel";
import { Sparkline } from "../components/Sparkline";
import { StackBar } from "../components/StackBar";
import type { Judged } from "../gen/starling/live/v1/live_pb";
import type { Connections } from "../gen/starling/v1/cluster_pb";
import { attemptsText } from "../lib/attempts";
import { noted } from "../lib/complete";
import { count, grouped, known, type Maybe, NONE, percent, rate, text } from "../lib/format";
import { lazy } from "../lib/lazy";

const details = lazy(() => import("./ConnectionDetails"));

interface Props {
  connections: Connections | undefined;
  judged: Judged | undefined;
  view: Pick<LiveView, "shown" | "version">;
  /** "2 of 3 nodes" when some are not in it. */
  lacks?: string | undefined;
  /** Why there is nothing: of a node that is silent. */
  absent?: string | undefined;
  /** Whose they are; both undefined for those of all nodes. */
  node?: string | undefined;
  group?: string | undefined;
}

/** A row of sockets; together they are all that are tracked. */
interface Row {
  label: string;
  mark: Mark;
  color: string;
  value: Maybe;
  /** Of an open one: shares are of those alone, what has ended says nothing about how well they are. */
  column?: "connections.healthy" | "connections.warning";
}

function rowsOf({ healthy, warning, total, byState }: Connections): Row[] {
  const waiting = byState.time_wait;
  const others =
    known(total) && known(healthy) && known(warning) ? total - healthy - warning - (waiting ?? 0) : undefined;
  const rows: Row[] = [
    { label: "Healthy", mark: "ok", color: "ok-f", value: healthy, column: "connections.healthy" },
    { label: "Warning", mark: "warning", color: "warn-f", value: warning, column: "connections.warning" },
    { label: "Time-wait", mark: "stopped", color: "line-3", value: waiting },
  ];
  if (known(others) && others > 0) {
    rows.push({ label: "Opening, closing", mark: "info", color: "line-2", value: others });
  }
  return rows;
}

export function ConnectionsPanel({ connections, judged, view, lacks, absent, node, group }: Props) {
  const asked = useSignal(false);
  if (!connections) {
    return <Absent title="Connection health" what={absent ?? "No connection data in this second."} />;
  }
  const { healthy, warning, total } = connections;
  const opened = known(healthy) && known(warning) ? healthy + warning : undefined;
  const share = (part: Maybe) => (known(part) && opened ? text(percent(part / opened)) : NONE);
  const rows = rowsOf(connections);
  const attempts = attemptsText(judged?.attempts);
  const facts = [
    ["Active", text(count(connections.active))],
    ["Opened", text(rate(connections.openedPerSecond))],
    ["Idle", text(count(connections.idle))],
    ["Retransmits", text(percent(connections.retransmitRatio))],
  ] as const;
  const open = known(opened) ? `${grouped(opened)} open of ` : "";
  return (
    <Panel
      title="Connection health"
      note={noted(`${open}${grouped(total)} tracked`, lacks)}
      width={4}
      class="stacked"
      controls={
        <button
          type="button"
          class="btn s"
          onClick={() => {
            details.load();
            asked.value = true;
          }}
        >
          View details
        </button>
      }
    >
      {asked.value && details.part.value && (
        <details.part.value.ConnectionDetails
          node={node}
          group={group}
          close={() => {
            asked.value = false;
          }}
        />
      )}
      <StackBar parts={rows.filter((row) => row.column)} whole={opened ?? 0} label="Open connections" />
      <table class="t">
        <thead>
          <tr>
            <th scope="col">Sockets</th>
            <th scope="col">Now</th>
            <th scope="col">Of open</th>
            <th scope="col">Trend</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.label}>
              <th scope="row">
                <StatusMark mark={row.mark} /> {row.label}
              </th>
              <td>{grouped(row.value)}</td>
              <td>{row.column && share(row.value)}</td>
              <td class="trend">
                {row.column && <Sparkline view={view} column={row.column} color={row.color} />}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <FactList class="kv two" facts={facts} />
      <p class="small">
        {attempts && <span class="attempts">{attempts} </span>}
        Warning: open, with over 2% of segments sent again or silent past 300&#8239;s. Healthy: open without
        that.
      </p>
    </Panel>
  );
}

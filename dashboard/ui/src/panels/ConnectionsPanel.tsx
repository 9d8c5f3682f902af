/** How well the TCP connections of the cluster or of one node are in the newest second. */
import type { LiveView } from "../api/view";
import { FactList } from "../components/FactList";
import { StatusMark } from "../components/Icons";
import { Absent, Panel } from "../components/Panel";
import { Sparkline } from "../components/Sparkline";
import { StackBar } from "../components/StackBar";
import type { Connections } from "../gen/starling/v1/sections_pb";
import { count, grouped, known, type Maybe, NONE, percent, rate, text } from "../lib/format";

const HEALTH = [
  { key: "healthy", label: "Healthy", mark: "ok", color: "ok-f", column: "connections.healthy" },
  { key: "warning", label: "Warning", mark: "warning", color: "warn-f", column: "connections.warning" },
  { key: "error", label: "Error", mark: "critical", color: "crit-f", column: "connections.error" },
] as const;

export function ConnectionsPanel({
  connections,
  view,
}: {
  connections: Connections | undefined;
  view: Pick<LiveView, "shown" | "version">;
}) {
  if (!connections) return <Absent title="Connection health" what="No connection data in this second." />;
  const { healthy, warning, error } = connections;
  const sum = known(healthy) && known(warning) && known(error) ? healthy + warning + error : 0;
  const share = (part: Maybe) => (known(part) && sum > 0 ? text(percent(part / sum)) : NONE);
  const facts = [
    ["Active", text(count(connections.active))],
    ["Opened", text(rate(connections.openedPerSecond))],
    ["Idle", text(count(connections.idle))],
    ["Resets", text(rate(connections.resetsPerSecond))],
    ["Retransmits", text(percent(connections.retransmitRatio))],
    ["Errors", share(error)],
  ] as const;
  const parts = HEALTH.map((h) => ({ label: h.label, value: connections[h.key], color: h.color }));
  return (
    <Panel title="Connection health" note={`${grouped(connections.total)} tracked`} width={4} class="stacked">
      <StackBar parts={parts} whole={sum} label="Connections" />
      <table class="t">
        <thead>
          <tr>
            <th scope="col">State</th>
            <th scope="col">Connections</th>
            <th scope="col">Share</th>
            <th scope="col">Trend</th>
          </tr>
        </thead>
        <tbody>
          {HEALTH.map((h) => (
            <tr key={h.key}>
              <th scope="row">
                <StatusMark mark={h.mark} /> {h.label}
              </th>
              <td>{grouped(connections[h.key])}</td>
              <td>{share(connections[h.key])}</td>
              <td class="trend">
                <Sparkline view={view} column={h.column} color={h.color} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <FactList class="kv two" facts={facts} />
      <p class="small">Warning: open, with over 2% of segments sent again or silent past 300&#8239;s.</p>
    </Panel>
  );
}

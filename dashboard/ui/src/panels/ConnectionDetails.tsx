/** Sockets by state and by node, and the report of them. Loaded when first asked for. */
import { useEffect, useMemo } from "preact/hooks";
import { Dialog } from "../components/Dialog";
import type { Connections } from "../gen/starling/v1/cluster_pb";
import { reportCsv } from "../lib/connections";
import * as f from "../lib/format";
import { save } from "../lib/save";
import { live, newest } from "../state/page";
import { nodeHref } from "../state/router";

/** Nodes that are named; the report has all. */
const NODES_MAX = 10;

interface Props {
  connections: Connections;
  /** Undefined for all nodes. */
  node?: string | undefined;
  close: () => void;
}

function Sockets({
  title,
  rows,
}: {
  title: string;
  rows: (readonly [string, number | undefined, string?])[];
}) {
  return (
    <table class="t">
      <thead>
        <tr>
          <th scope="col">{title}</th>
          <th scope="col">Sockets</th>
        </tr>
      </thead>
      <tbody>
        {rows.map(([name, n, href]) => (
          <tr key={name}>
            <th scope="row">
              <bdi class="cut" title={name}>
                {href ? <a href={href}>{name}</a> : name}
              </bdi>
            </th>
            <td>{f.grouped(n)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function ConnectionDetails({ connections, node, close }: Props) {
  const hosts = useMemo(() => live.hosts(), []);
  useEffect(() => () => live.release(hosts), [hosts]);
  const fleet = hosts.state.value;
  const states = Object.entries(connections.byState).sort(([, a], [, b]) => b - a);
  const nodes =
    node === undefined
      ? (fleet?.rows ?? [])
          .map((row) => [row.id, row.connections] as const)
          .sort(([, a], [, b]) => (b || 0) - (a || 0))
      : [];
  const report = () => ({
    time: new Date(newest.peek() * 1000).toISOString(),
    of: node ?? "all nodes",
    states,
    nodes,
  });
  return (
    <Dialog title={`Connections of ${node ?? "all nodes"}`} close={close}>
      <Sockets title="State" rows={states.map(([state, n]) => [state, n] as const)} />
      {nodes.length > 0 && (
        <Sockets
          title={
            nodes.length > NODES_MAX ? `Node, the first ${NODES_MAX} of ${f.grouped(nodes.length)}` : "Node"
          }
          rows={nodes.slice(0, NODES_MAX).map(([id, n]) => [id, n, nodeHref(id)] as const)}
        />
      )}
      <p class="small">
        As the kernel counts them at {f.clock(newest.value)}. Sockets that listen are no connections.
      </p>
      <div class="row">
        <button
          type="button"
          class="btn"
          onClick={() => save("connections.csv", "text/csv", reportCsv(report()))}
        >
          Export CSV
        </button>
        <button
          type="button"
          class="btn"
          onClick={() => save("connections.json", "application/json", JSON.stringify(report(), null, 2))}
        >
          Export JSON
        </button>
        <button type="button" class="btn" onClick={close}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

/** Starling's own aggregators. */
import { type Mark, StatusMark } from "../components/Icons";
import { Panel } from "../components/Panel";
import { Shell } from "../components/Shell";
import * as f from "../lib/format";
import { live } from "../state/page";

const MARKS: Record<string, Mark> = { ready: "ok", joining: "info", leaving: "stopped", dead: "critical" };

export function ClusterPage() {
  const view = live.aggregators;
  const state = view.state.value;
  const rows = state?.aggregators ?? [];
  const hello = live.hello.value;
  return (
    <Shell title="Cluster">
      <div class="grid">
        <Panel
          title="Aggregators"
          note={hello ? `${hello.cluster || "no cluster yet"}, dashboard ${hello.version}` : undefined}
          width={12}
        >
          {rows.length === 0 ? (
            <p class="absent">
              {view.status.value === "loading"
                ? "Connecting."
                : "The dashboard server has not reached an aggregator yet."}
            </p>
          ) : (
            // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
            <section class="wide" tabIndex={0} aria-label="Table of aggregators">
              <table class="t nodes">
                <thead>
                  <tr>
                    <th scope="col" class="tx">
                      Aggregator
                    </th>
                    <th scope="col" class="tx">
                      State
                    </th>
                    <th scope="col" class="tx">
                      gRPC address
                    </th>
                    <th scope="col" class="tx">
                      Version
                    </th>
                    <th scope="col">Nodes connected</th>
                    <th scope="col">Behind</th>
                  </tr>
                </thead>
                <tbody>
                  {rows.map((a) => (
                    <tr key={a.aggregatorId}>
                      <th scope="row">
                        {a.aggregatorId}
                        {a.aggregatorId === state?.connectedTo && (
                          <span class="sample">this page reads here</span>
                        )}
                      </th>
                      <td class="tx">
                        <StatusMark mark={MARKS[a.state] ?? "silent"} /> {a.state}
                      </td>
                      <td class="tx">{a.grpcAddress}</td>
                      <td class="tx">{a.version}</td>
                      <td>{f.grouped(a.connectedNodes)}</td>
                      <td>{f.known(a.behindSeconds) ? `${a.behindSeconds.toFixed(1)}${f.THIN}s` : f.NONE}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </section>
          )}
        </Panel>
      </div>
    </Shell>
  );
}

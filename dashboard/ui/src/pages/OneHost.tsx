/** On the overview of a single host, in place of the host map: its cores, and what it is. */
import { CoresPanel } from "../components/CoresPanel";
import { StatusMark } from "../components/Icons";
import { Panel } from "../components/Panel";
import { type NodeDetail, NodeState } from "../gen/live_pb";
import * as f from "../lib/format";
import { newest } from "../state/page";
import { nodeHref } from "../state/router";
import { useNode } from "./hooks";
import { factsOf } from "./NodeHead";

function HostState({ node }: { node: NodeDetail }) {
  if (node.state === NodeState.REPORTING) {
    return (
      <>
        <StatusMark mark="ok" /> reporting
      </>
    );
  }
  if (node.state === NodeState.STOPPED) {
    return (
      <>
        <StatusMark mark="stopped" /> stopped
      </>
    );
  }
  return (
    <>
      <StatusMark mark="silent" /> silent for {f.span(newest.value - node.lastTick)}
    </>
  );
}

export function OneHost({ id }: { id: string }) {
  const view = useNode(id);
  const node = view.state.value;
  return (
    <>
      <CoresPanel view={view} cores={node?.cores} />
      <Panel
        title="Host"
        note={id}
        width={4}
        controls={
          <a class="btn s" href={nodeHref(id)}>
            View node
          </a>
        }
      >
        {node ? (
          <dl class="kv wide-rows">
            <div>
              <dt>State</dt>
              <dd>
                <HostState node={node} />
              </dd>
            </div>
            {factsOf(node).map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd title={value}>{value}</dd>
              </div>
            ))}
          </dl>
        ) : (
          <p class="absent">Connecting.</p>
        )}
      </Panel>
    </>
  );
}

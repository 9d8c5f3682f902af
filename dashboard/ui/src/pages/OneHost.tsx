/** On the overview of a single host, in place of the host map: its cores, and what it is. */
import { STATES } from "../api/fleet";
import { StatusMark } from "../components/Icons";
import { Panel } from "../components/Panel";
import { CONNECTING, STATE_MARK, stateText } from "../components/words";
import type { NodeDetail } from "../gen/starling/live/v1/live_pb";
import { CoresPanel } from "../panels/CoresPanel";
import { newest } from "../state/page";
import { nodeHref } from "../state/router";
import { useNode } from "./hooks";
import { factsOf } from "./NodeHead";

function HostState({ node }: { node: NodeDetail }) {
  const state = STATES[node.state];
  return (
    <>
      <StatusMark mark={STATE_MARK[state]} />{" "}
      {stateText({ state, silentSeconds: newest.value - node.lastTick })}
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
          <p class="absent">{CONNECTING}</p>
        )}
      </Panel>
    </>
  );
}

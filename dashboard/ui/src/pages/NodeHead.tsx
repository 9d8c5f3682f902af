/** The top of a node's page: where it is, how it is, what it says of itself. */
import { STATES } from "../api/fleet";
import { FactList } from "../components/FactList";
import { StatusMark } from "../components/Icons";
import { Verdict } from "../components/Verdict";
import { STATE_MARK, STATE_WORD } from "../components/words";
import type { NodeDetail } from "../gen/starling/live/v1/live_pb";
import { type CollectorFault, CollectorTrouble } from "../gen/starling/v1/cluster_pb";
import { faultText } from "../lib/faults";
import * as f from "../lib/format";
import { labelTerm } from "../lib/nodes";
import { newest } from "../state/page";
import { nodeHref } from "../state/router";

/** Value of a label "key:value"; empty when the node has none. */
function label(node: NodeDetail, key: string): string {
  return node.labels.find((l) => l.startsWith(`${key}:`))?.slice(key.length + 1) ?? "";
}

/** The nodes with a value of a label. */
function nodesWith(key: string, value: string): string {
  return `/nodes?q=${encodeURIComponent(labelTerm(key, value))}`;
}

/** The way to a node: zone, rack, name. */
export function Trail({ id, node }: { id: string; node: NodeDetail | null }) {
  const zone = node ? label(node, "zone") : "";
  const rack = node ? label(node, "rack") : "";
  return (
    <>
      <nav class="crumb" aria-label="Breadcrumb">
        <a href="/nodes">Nodes</a>
        <span aria-hidden="true">/</span>
        {zone !== "" && (
          <>
            <a class="hide-s" href={nodesWith("zone", zone)}>
              zone {zone}
            </a>
            <span class="hide-s" aria-hidden="true">
              /
            </span>
          </>
        )}
        {rack !== "" && (
          <>
            <a class="hide-s" href={nodesWith("rack", rack)}>
              {rack}
            </a>
            <span class="hide-s" aria-hidden="true">
              /
            </span>
          </>
        )}
      </nav>
      <h1 tabIndex={-1}>
        <bdi>{id}</bdi>
      </h1>
      {node?.simulated && (
        <span class="sample" title="A replay of real samples with varied load, for demonstration">
          Simulated
        </span>
      )}
    </>
  );
}

/** What a node says of itself, as pairs of name and value. */
export function factsOf(node: NodeDetail): [string, string][] {
  const others = node.labels.filter((l) => !/^(zone|rack|starling\.)/.test(l));
  const facts: [string, string][] = [];
  const { cpu, memory } = node.sections ?? {};
  if (cpu) {
    facts.push(["CPU", [f.plural(cpu.cores, "core"), node.cpuModel].filter((v) => v !== "").join(", ")]);
  }
  if (memory) facts.push(["Memory", f.text(f.bytes(memory.totalBytes))]);
  // Who renames a host does not rename its node.
  if (node.hostName !== "" && node.hostName.toLowerCase() !== node.nodeId)
    facts.push(["Host", node.hostName]);
  if (node.os !== "") facts.push(["System", node.os]);
  if (node.kernel !== "") facts.push(["Kernel", node.kernel]);
  if (node.uptimeSeconds > 0) facts.push(["Up", f.span(node.uptimeSeconds)]);
  if (node.version !== "") facts.push(["Daemon", node.version]);
  if (node.aggregatorId !== "") {
    facts.push(["Via", `${node.aggregatorId}, ${(node.delayMs / 1000).toFixed(1)}${f.THIN}s behind`]);
  }
  for (const l of others) {
    const at = l.indexOf(":");
    facts.push([l.slice(0, at), l.slice(at + 1)]);
  }
  return facts;
}

export function Facts({ node }: { node: NodeDetail }) {
  return (
    <>
      <FactList class="facts" facts={factsOf(node)} />
      <Faults faults={node.collectorFaults} clash={node.clash} />
    </>
  );
}

/**
 * Who else has the name of the node, and what its daemon cannot read of its host, so that what is absent below is not
 * taken for nothing.
 */
function Faults({ faults, clash }: { faults: readonly CollectorFault[]; clash: string }) {
  if (faults.length === 0 && clash === "") return null;
  return (
    <ul class="faults" aria-label="What is wrong with this node">
      {clash !== "" && (
        <li class="crit">
          <StatusMark mark="critical" />
          <span>{clash}</span>
        </li>
      )}
      {faults.map((fault) => (
        <li key={fault.collector}>
          <StatusMark mark={fault.trouble === CollectorTrouble.PARTIAL ? "warning" : "error"} />
          <span>{faultText(fault)}</span>
        </li>
      ))}
    </ul>
  );
}

function Neighbours({ node }: { node: NodeDetail }) {
  return (
    <nav class="nb" aria-label="Neighbouring nodes">
      {node.previousNodeId !== "" && (
        <a
          class="btn s"
          href={nodeHref(node.previousNodeId)}
          aria-label={`Previous node, ${node.previousNodeId}`}
        >
          ‹ {node.previousNodeId}
        </a>
      )}
      {node.nextNodeId !== "" && (
        <a class="btn s" href={nodeHref(node.nextNodeId)} aria-label={`Next node, ${node.nextNodeId}`}>
          {node.nextNodeId} ›
        </a>
      )}
    </nav>
  );
}

const capital = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);

/** The verdict on a node, or what is known of it before there is one. */
export function State({ node }: { node: NodeDetail | null }) {
  if (node?.judged?.verdict) {
    return (
      <Verdict verdict={node.judged.verdict} waiting="" label="Node state">
        <Neighbours node={node} />
      </Verdict>
    );
  }
  const state = node ? STATES[node.state] : "unknown";
  const well = state === "reporting";
  return (
    <section class="verdict" aria-label="Node state">
      <span class={`state ${well ? "ok" : "mute"}`}>
        <StatusMark mark={STATE_MARK[state]} />
        {node ? capital(STATE_WORD[state]) : "Waiting"}
      </span>
      <p>
        {!node && "for the first data of this node"}
        {node &&
          !well &&
          `last frame at ${f.clock(node.lastTick)}, ${f.span(newest.value - node.lastTick)} ago`}
      </p>
      {node && <Neighbours node={node} />}
    </section>
  );
}

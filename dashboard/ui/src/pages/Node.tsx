/** One node: facts, figures against the cluster's median, charts on one time axis. */
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { ChartPanel } from "../components/ChartPanel";
import { type CoreOrder, CoreStrips } from "../components/CoreStrips";
import type { Reference } from "../components/chart/core";
import { StatusMark } from "../components/Icons";
import { Choice, Panel } from "../components/Panel";
import { PinRow } from "../components/PinRow";
import { ConnectionsPanel } from "../components/ResourcePanels";
import { Shell } from "../components/Shell";
import { Verdict } from "../components/Verdict";
import { type NodeDetail, NodeState } from "../gen/live_pb";
import * as f from "../lib/format";
import { newest } from "../state/page";
import { nodeHref } from "../state/router";
import { useNode } from "./hooks";
import { Kpis } from "./Kpis";
import * as s from "./series";

const ORDERS = [
  ["core", "By core"],
  ["busiest", "Busiest first"],
] as const;

const NO_REFERENCE: Reference[] = [];

/** Value of a label "key:value"; empty when the node has none. */
function label(node: NodeDetail, key: string): string {
  return node.labels.find((l) => l.startsWith(`${key}:`))?.slice(key.length + 1) ?? "";
}

function Trail({ id, node }: { id: string; node: NodeDetail | null }) {
  const zone = node ? label(node, "zone") : "";
  const rack = node ? label(node, "rack") : "";
  return (
    <>
      <nav class="crumb" aria-label="Breadcrumb">
        <a href="/nodes">Nodes</a>
        <span aria-hidden="true">/</span>
        {zone !== "" && (
          <>
            <a class="hide-s" href={`/nodes?q=zone:${encodeURIComponent(zone)}`}>
              zone {zone}
            </a>
            <span class="hide-s" aria-hidden="true">
              /
            </span>
          </>
        )}
        {rack !== "" && (
          <>
            <a class="hide-s" href={`/nodes?q=rack:${encodeURIComponent(rack)}`}>
              {rack}
            </a>
            <span class="hide-s" aria-hidden="true">
              /
            </span>
          </>
        )}
      </nav>
      <h1>{id}</h1>
      {node?.simulated && (
        <span class="sample" title="A replay of real samples with varied load, for demonstration">
          Simulated
        </span>
      )}
    </>
  );
}

function Facts({ node }: { node: NodeDetail }) {
  const others = node.labels.filter((l) => !/^(zone|rack|starling\.)/.test(l));
  const facts: [string, string][] = [];
  if (node.cpu) {
    facts.push(["CPU", [f.plural(node.cpu.cores, "core"), node.cpuModel].filter((v) => v !== "").join(", ")]);
  }
  if (node.memory) facts.push(["Memory", f.text(f.bytes(node.memory.total))]);
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
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
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

/** A dashed line at the cluster's median of now. */
function useMedian(value: number | undefined, text: string): Reference[] {
  const known = value !== undefined && Number.isFinite(value) && value > 0;
  return useMemo(() => (known ? [{ value, label: text }] : NO_REFERENCE), [known ? value : 0, text]);
}

export function NodePage({ id }: { id: string }) {
  const view = useNode(id);
  const order = useSignal<CoreOrder>("core");
  const node = view.state.value;
  const error = view.error.value;
  const latencyMedian = useMedian(node?.median?.p99Micros, "median p99");
  const requestsMedian = useMedian(node?.median?.requestsPerSecond, "median");
  const cpuMedian = useMedian(node?.median?.cpu, "median");
  const cores = node?.cpu?.cores ?? 0;
  const loadReference = useMemo(
    (): Reference[] => (cores > 0 ? [{ value: cores, label: "one per core" }] : NO_REFERENCE),
    [cores],
  );
  const limit = node?.memory?.total ?? 0;
  const memoryReference = useMemo(
    (): Reference[] => (limit > 0 ? [{ value: limit, label: "" }] : NO_REFERENCE),
    [limit],
  );

  if (error && !node) {
    return (
      <Shell title={id} trail={<Trail id={id} node={null} />}>
        <section class="p empty-page" aria-label="Node not shown">
          <h2>{error.code === "not_found" ? `No node is named ${id}` : "This node cannot be shown"}</h2>
          <p>{error.message}</p>
          <p>Starling asks again every few seconds.</p>
          <a class="btn" href="/nodes">
            All nodes
          </a>
        </section>
      </Shell>
    );
  }
  const silent = node && node.state !== NodeState.REPORTING;
  return (
    <Shell title={id} trail={<Trail id={id} node={node} />}>
      {node?.verdict ? (
        <Verdict verdict={node.verdict} waiting="" label="Node state">
          <Neighbours node={node} />
        </Verdict>
      ) : (
        <section class="verdict" aria-label="Node state">
          <span class={`state ${node && !silent ? "ok" : "mute"}`}>
            <StatusMark mark={node && !silent ? "ok" : "silent"} />
            {!node
              ? "Waiting"
              : node.state === NodeState.REPORTING
                ? "Reporting"
                : node.state === NodeState.STOPPED
                  ? "Stopped"
                  : "Silent"}
          </span>
          <p>
            {node
              ? silent
                ? `last frame at ${f.clock(node.lastTick)}, ${f.span(newest.value - node.lastTick)} ago`
                : ""
              : "for the first data of this node"}
          </p>
          {node && <Neighbours node={node} />}
        </section>
      )}
      {node && <Facts node={node} />}
      <Kpis
        label="Key figures of this node"
        view={view}
        traffic={node?.traffic}
        connections={node?.connections}
        cpu={node?.cpu}
        memory={node?.memory}
        target={0}
        median={node?.median}
        ofNode
      />
      <PinRow />
      <div class="grid">
        <ChartPanel
          view={view}
          title="Latency"
          note="per second"
          width={4}
          height={150}
          left={48}
          series={s.LATENCY}
          axis={f.axisMicros}
          value={f.micros}
          references={latencyMedian}
          empty="No requests in this time."
        />
        <ChartPanel
          view={view}
          title="Requests by protocol"
          note="per second"
          width={4}
          height={150}
          series={s.REQUESTS_SHORT}
          stacked
          axis={f.axisCount}
          value={f.count}
          references={requestsMedian}
          empty={s.NO_REQUESTS}
        />
        <ChartPanel
          view={view}
          title="Errors"
          note="per second"
          width={4}
          height={150}
          series={s.ERRORS}
          axis={f.axisCount}
          value={f.rate}
          empty={s.NO_REQUESTS}
        />
        <Panel
          title="CPU per core"
          note="one strip each, stronger colour is busier"
          width={8}
          controls={
            <>
              <span class="rampi">
                <span>0</span>
                <i />
                <span>100%</span>
              </span>
              <Choice
                label="Order"
                value={order.value}
                options={ORDERS}
                choose={(v) => {
                  order.value = v;
                }}
              />
            </>
          }
        >
          {node && node.cores.length > 0 ? (
            <CoreStrips view={view} cores={node.cores} order={order.value} />
          ) : (
            <p class="absent">No per-core data in this second.</p>
          )}
        </Panel>
        <ConnectionsPanel connections={node?.connections} view={view} />
        <ChartPanel
          view={view}
          title="CPU"
          note="share of all cores"
          width={4}
          height={132}
          series={s.CPU}
          axis={f.axisPercent}
          value={f.percent}
          max={1}
          references={cpuMedian}
          empty="No processor data in this time."
        />
        <ChartPanel
          view={view}
          title="Memory"
          note={limit > 0 ? `of ${f.text(f.bytes(limit))}` : ""}
          width={4}
          height={132}
          left={52}
          series={s.MEMORY}
          stacked
          axis={f.axisBytes}
          value={f.bytes}
          unit={s.binary}
          references={memoryReference}
          empty="No memory data in this time."
        />
        <ChartPanel
          view={view}
          title="Load average"
          note={f.plural(cores, "core")}
          width={4}
          height={132}
          series={s.LOAD}
          axis={f.axisCount}
          value={f.count}
          references={loadReference}
          empty="No load data in this time."
        />
        <ChartPanel
          view={view}
          title="Network"
          note="bit/s"
          width={4}
          height={132}
          series={s.NETWORK}
          scale={s.BITS_PER_BYTE}
          axis={f.axisBits}
          value={f.bits}
          empty="No network data in this time."
        />
        <ChartPanel
          view={view}
          title="Disk"
          note="bytes per second"
          width={4}
          height={132}
          left={52}
          series={s.DISK}
          axis={f.axisBytes}
          value={f.byteRate}
          unit={s.binary}
          empty="No disk data in this time."
        />
        <ChartPanel
          view={view}
          title="Connections"
          note="TCP"
          width={4}
          height={132}
          series={s.CONNECTIONS}
          axis={f.axisCount}
          value={f.count}
          empty="No connection data in this time."
        />
      </div>
    </Shell>
  );
}

/** One node: facts, figures against the cluster's median, charts on one time axis. */
import { useMemo } from "preact/hooks";
import { ChartPanel } from "../components/ChartPanel";
import { CoresPanel } from "../components/CoresPanel";
import type { Reference } from "../components/chart/spec";
import { PinRow } from "../components/PinRow";
import { ConnectionsPanel } from "../components/ResourcePanels";
import { Shell } from "../components/Shell";
import * as f from "../lib/format";
import { useNode } from "./hooks";
import { Kpis } from "./Kpis";
import { Facts, State, Trail } from "./NodeHead";
import * as s from "./series";

const NO_REFERENCE: Reference[] = [];

/** A dashed line at the cluster's median of now. */
function useMedian(value: number | undefined, text: string): Reference[] {
  const known = value !== undefined && Number.isFinite(value) && value > 0;
  return useMemo(() => (known ? [{ value, label: text }] : NO_REFERENCE), [known ? value : 0, text]);
}

export function NodePage({ id }: { id: string }) {
  const view = useNode(id);
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
  return (
    <Shell title={id} trail={<Trail id={id} node={node} />}>
      <State node={node} />
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
        <CoresPanel view={view} cores={node?.cores} />
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
          note={cores > 0 ? f.plural(cores, "core") : undefined}
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

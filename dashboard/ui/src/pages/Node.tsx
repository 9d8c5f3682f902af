/** One node: facts, figures against the cluster's median, charts on one time axis. */
import { useMemo } from "preact/hooks";
import { STATES } from "../api/fleet";
import type { Reference } from "../components/chart/spec";
import { PinRow } from "../components/PinRow";
import { Shell } from "../components/Shell";
import * as f from "../lib/format";
import { everyText } from "../lib/interval";
import { AlertsPanel } from "../panels/AlertsPanel";
import { ConnectionsPanel } from "../panels/ConnectionsPanel";
import { CoresPanel } from "../panels/CoresPanel";
import { TimePanel } from "../panels/TimePanel";
import { ON_NODE } from "../panels/table";
import { useNode } from "./hooks";
import { Kpis } from "./Kpis";
import { Facts, State, Trail } from "./NodeHead";
import { Heatmap, History, Processes } from "./OverTime";

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
  const latencyMedian = useMedian(node?.median?.p99Micros, "median p99 now");
  const requestsMedian = useMedian(node?.median?.requestsPerSecond, "median now");
  const cpuMedian = useMedian(node?.median?.cpu, "median now");
  const cores = node?.sections?.cpu?.cores ?? 0;
  const loadReference = useMemo(
    (): Reference[] => (cores > 0 ? [{ value: cores, label: "one per core" }] : NO_REFERENCE),
    [cores],
  );
  const limit = node?.sections?.memory?.totalBytes ?? 0;
  const memoryReference = useMemo(
    (): Reference[] => (limit > 0 ? [{ value: limit, label: "" }] : NO_REFERENCE),
    [limit],
  );

  const every = everyText(node?.sections?.traffic?.reportedEverySeconds);
  // What is not there is not there because the node is gone.
  const gone =
    node && STATES[node.state] !== "reporting" ? `No data since ${f.clock(node.lastTick)}.` : undefined;

  if (error && !node) {
    return (
      <Shell title={id} trail={<Trail id={id} node={null} />}>
        <section class="p empty-page" aria-label="Node not shown">
          <h2>
            {error.code === "not_found" ? `No node is named \u2068${id}\u2069` : "This node cannot be shown"}
          </h2>
          <p>
            {error.code === "not_found"
              ? "No node of this name has reported to the aggregators. It appears here when it does; names are case-sensitive."
              : error.message}
          </p>
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
        sections={node?.sections}
        target={0}
        median={node?.median}
        alerts={node?.alerts}
        ofNode
      />
      <PinRow />
      <div class="grid">
        <TimePanel
          view={view}
          absent={gone}
          panel="latency"
          width={8}
          height={176}
          references={latencyMedian}
        />
        <AlertsPanel alerts={node?.alerts} ofNode />
        <TimePanel
          view={view}
          absent={gone}
          over={every}
          panel="requests"
          width={8}
          height={150}
          references={requestsMedian}
        />
        <TimePanel view={view} absent={gone} panel="errors" height={150} />
        <CoresPanel view={view} cores={node?.cores} absent={gone} />
        <ConnectionsPanel
          node={id}
          connections={node?.sections?.connections}
          judged={node?.judged}
          view={view}
          absent={gone}
        />
        {node && !node.simulated && gone === undefined && <Processes node={id} />}
        <TimePanel view={view} absent={gone} panel="cpu" references={cpuMedian} />
        <TimePanel
          view={view}
          absent={gone}
          panel="memory"
          note={limit > 0 ? `of ${f.text(f.bytes(limit))}` : ""}
          references={memoryReference}
        />
        <TimePanel
          view={view}
          absent={gone}
          panel="load"
          note={cores > 0 ? f.plural(cores, "core") : ""}
          references={loadReference}
        />
        {ON_NODE.map((panel) => (
          <TimePanel key={panel} view={view} absent={gone} panel={panel} />
        ))}
        <Heatmap node={id} />
        <History node={id} />
      </div>
    </Shell>
  );
}

/** The cluster at a glance. */
import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import type { Fleet } from "../api/fleet";
import type { Reference } from "../components/chart/spec";
import { Histogram, HistogramTable } from "../components/Histogram";
import { StatusMark } from "../components/Icons";
import { Absent, Choice, Panel } from "../components/Panel";
import { PinRow } from "../components/PinRow";
import { Shell } from "../components/Shell";
import { Verdict } from "../components/Verdict";
import { CONNECTING, lackBriefly, lackText } from "../components/words";
import type { Distribution } from "../gen/starling/live/v1/live_pb";
import type { Latency } from "../gen/starling/v1/cluster_pb";
import { nodesBehind, noted } from "../lib/complete";
import * as f from "../lib/format";
import { groupAsked, groupsOf, isIn, keyAndValue } from "../lib/groups";
import { everyText } from "../lib/interval";
import { labelTerm } from "../lib/nodes";
import { AlertsPanel } from "../panels/AlertsPanel";
import { ConnectionsPanel } from "../panels/ConnectionsPanel";
import { CpuPanel } from "../panels/CpuPanel";
import { HostsPanel } from "../panels/HostsPanel";
import { MemoryPanel } from "../panels/MemoryPanel";
import { ProtocolsPanel } from "../panels/ProtocolsPanel";
import { TimePanel } from "../panels/TimePanel";
import { live, standing } from "../state/page";
import { navigateHere, query, setQuery } from "../state/router";
import { useHosts, useOverview } from "./hooks";
import { Kpis } from "./Kpis";
import { loadOthers, others } from "./lazy";
import { Heatmap, History } from "./OverTime";

const STYLES = [
  ["stacked", "Stacked"],
  ["lines", "Lines"],
] as const;

/** Up to this many nodes the map needs little room and the latency chart takes its place. */
const FEW_NODES = 3;
let manySeen = false;

/** Counts of node states, beside the verdict. Of the past once data has stopped. */
function Tally({ fleet, group }: { fleet: Fleet; group: string }) {
  if (standing.value === "stale") return null;
  const nodes = (state: string) =>
    `/nodes?${new URLSearchParams({ q: [...(group === "" ? [] : [labelTerm(...keyAndValue(group))]), ...(state === "" ? [] : [`state:${state}`])].join(" ") })}`;
  return (
    <div class="tally">
      {fleet.silent > 0 && (
        <a href={nodes("silent")}>
          <StatusMark mark="silent" />
          {f.grouped(fleet.silent)} silent
        </a>
      )}
      {fleet.stopped > 0 && (
        <a href={nodes("stopped")}>
          <StatusMark mark="stopped" />
          {f.grouped(fleet.stopped)} stopped
        </a>
      )}
      {fleet.reporting > 0 && (
        <a href={group === "" ? "/nodes" : nodes("")}>
          <StatusMark mark="ok" />
          {f.grouped(fleet.reporting)} reporting
        </a>
      )}
    </div>
  );
}

function LatencyPanel({
  latency,
  distribution,
  lacks,
}: {
  latency: Latency | undefined;
  distribution: Distribution | undefined;
  /** "2 of 3 nodes" when some are not in it. */
  lacks: string | undefined;
}) {
  const table = useSignal(false);
  return (
    <Panel
      title="Latency distribution"
      note={noted("last 60 s, log scale", lacks)}
      width={4}
      table={{
        on: table.value,
        toggle: () => {
          table.value = !table.value;
        },
      }}
    >
      {latency && distribution && distribution.counts.length > 0 ? (
        <>
          <div class="lg">
            <span class="k">
              <i class="sw bar-color" />
              requests <b>{f.text(f.count(latency.count))}</b>
            </span>
            <span class="k">
              mean <b>{f.text(f.micros(latency.meanMicros))}</b>
            </span>
            <span class="k">
              max <b>{f.text(f.micros(latency.maxMicros))}</b>
            </span>
          </div>
          {table.value ? (
            <HistogramTable distribution={distribution} />
          ) : (
            <Histogram distribution={distribution} latency={latency} />
          )}
          {latency.errorBoundPpm > f.TWO_FIGURES_PPM && (
            <details class="small">
              <summary>Coarse buckets: percentiles are ranges</summary>
              An application sends few, wide buckets. In its environment{" "}
              <code>
                OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=base2_exponential_bucket_histogram
              </code>{" "}
              makes them sharp, to 5% or less.
            </details>
          )}
        </>
      ) : (
        <p class="absent">{lackBriefly.value ?? "No requests in the last 60 seconds."}</p>
      )}
    </Panel>
  );
}

/** What a single host has instead of a map; it comes with the other pages. */
function OnlyHost({ id }: { id: string }) {
  useEffect(loadOthers, []);
  const pages = others.value;
  return pages ? (
    <pages.OneHost key={id} id={id} />
  ) : (
    <>
      <Absent title="CPU per core" what={CONNECTING} width={8} />
      <Absent title="Host" what={CONNECTING} />
    </>
  );
}

/** The nodes of a group, counted again. */
function partOf(fleet: Fleet, group: string): Fleet {
  const rows = fleet.rows.filter((row) => isIn(row, group));
  const count = (state: string) => rows.filter((row) => row.state === state).length;
  return {
    ...fleet,
    rows,
    part: group,
    reporting: count("reporting"),
    silent: count("silent"),
    stopped: count("stopped"),
  };
}

/** Chooses whose overview it is: of all nodes, or of those with a label. */
function GroupSelect({ fleet, group }: { fleet: Fleet | null; group: string }) {
  const groups = useMemo(() => groupsOf(fleet?.rows ?? []), [fleet?.dictionaryVersion]);
  if (groups.length === 0 && group === "") return null;
  return (
    <select
      class="select s whose"
      aria-label="Overview of"
      value={group}
      onChange={(e) => navigateHere({ group: e.currentTarget.value || null })}
    >
      <option value="">all nodes</option>
      {group !== "" && !groups.includes(group) && <option value={group}>{group}</option>}
      {groups.map((is) => (
        <option key={is} value={is}>
          {is}
        </option>
      ))}
    </select>
  );
}

/** Of all nodes, or of the group in the address. */
export function OverviewPage() {
  const group = groupAsked(query.value.get("group"));
  return <Overview key={group} group={group} />;
}

function Overview({ group }: { group: string }) {
  const view = useOverview(group);
  const hosts = useHosts();
  const style = query.value.get("style") === "lines" ? "lines" : "stacked";
  const state = view.state.value;
  const { traffic, connections, cpu, memory } = state?.sections ?? {};
  const whole = hosts.state.value;
  const fleet = useMemo(() => (whole && group !== "" ? partOf(whole, group) : whole), [whole, group]);
  // What is aimed at is of all nodes together.
  const target = group === "" ? (live.hello.value?.targetRps ?? 0) : 0;
  const whose = group === "" ? {} : { group };
  const everyNode = group === "" ? "all nodes" : group;
  const references = useMemo(
    (): Reference[] => (target > 0 ? [{ value: target, label: `target ${f.text(f.count(target))}` }] : []),
    [target],
  );
  const complete = state?.completeness;
  const nodes = complete?.nodesReporting ?? 0;
  const lacks = nodesBehind(complete);
  const skipped = complete?.skippedCells ? `without ${f.plural(complete.skippedCells, "value")}` : undefined;
  const every = everyText(traffic?.reportedEverySeconds);
  const inMemory = nodesBehind(complete, "memory") ?? f.plural(nodes, "node");
  const refused = view.error.value?.message;
  const waiting = refused ?? lackText.value ?? CONNECTING;
  // Panels do not change places while one looks: once there were many, there is room for many.
  if (fleet !== null && fleet.rows.length > FEW_NODES) manySeen = true;
  const few = fleet !== null && !manySeen;
  const only = fleet?.rows.length === 1 ? fleet.rows[0]?.id : undefined;
  const latency = (
    <TimePanel view={view} panel="latency" over={lacks} width={few ? 8 : 4} height={few ? 214 : 132} />
  );
  const protocols = (
    <ProtocolsPanel traffic={traffic} severities={state?.judged?.protocols ?? []} view={view} lacks={lacks} />
  );
  const alerts = <AlertsPanel alerts={state?.alerts} />;
  const hostMap = (
    <HostsPanel
      fleet={fleet}
      alerts={state?.alerts}
      waiting={refused ?? lackBriefly.value ?? CONNECTING}
      {...(whole && group !== "" && { of: whole.rows.length })}
      width={few ? 4 : 8}
    />
  );
  return (
    <Shell
      title={group === "" ? "Overview" : group}
      trail={
        <>
          <h1 tabIndex={-1}>Overview</h1>
          <GroupSelect fleet={whole} group={group} />
        </>
      }
    >
      <Verdict
        verdict={state?.judged?.verdict}
        waiting={waiting}
        label={group === "" ? "Cluster state" : `State of ${group}`}
      >
        {fleet && <Tally fleet={fleet} group={group} />}
      </Verdict>
      <Kpis
        label="Key figures"
        view={view}
        sections={state?.sections}
        target={target}
        complete={complete}
        median={undefined}
        alerts={state?.alerts}
        ofNode={false}
      />
      <PinRow />
      <div class="grid">
        <TimePanel
          view={view}
          panel="timeline"
          over={noted(lacks, skipped, every)}
          width={8}
          height={176}
          stacked={style === "stacked"}
          references={references}
          empty={
            <span>
              No requests reported yet. <a href="/traffic">How to send the first one</a>
            </span>
          }
          totalColumn="rps.total"
          noDataLabel
          controls={
            <Choice
              label="Draw as"
              value={style}
              options={STYLES}
              choose={(v) => setQuery("style", v === "stacked" ? null : v)}
            />
          }
        />
        <LatencyPanel
          latency={traffic?.latencyLastMinute}
          distribution={state?.judged?.distribution}
          lacks={lacks}
        />
        {only !== undefined ? <OnlyHost id={only} /> : few ? latency : hostMap}
        {only !== undefined && latency}
        {alerts}
        <Heatmap {...whose} />
        {protocols}
        <CpuPanel cpu={cpu} nodes={nodes} view={view} lacks={nodesBehind(complete, "cpu")} />
        <MemoryPanel
          memory={memory}
          note={memory ? `${f.text(f.bytes(memory.totalBytes))} over ${inMemory}` : ""}
        />
        <ConnectionsPanel
          connections={connections}
          judged={state?.judged}
          view={view}
          lacks={nodesBehind(complete, "connections")}
          {...whose}
        />
        {few && only === undefined && hostMap}
        {!few && latency}
        <TimePanel view={view} panel="network" over={nodesBehind(complete, "network") ?? everyNode} />
        <TimePanel view={view} panel="disk" over={nodesBehind(complete, "disk") ?? everyNode} />
        <TimePanel view={view} panel="errors" over={lacks} />
        {only === undefined && <TimePanel view={view} panel="connections" width={8} />}
        <History {...whose} />
      </div>
    </Shell>
  );
}

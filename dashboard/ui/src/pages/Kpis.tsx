/** The six summary figures, of the cluster or of one node. */
import type { Column } from "../api/columns";
import type { LiveView } from "../api/view";
import { Fact, Kpi, KpiRow, ShareBar } from "../components/Kpi";
import { Sparkline } from "../components/Sparkline";
import type { Median, OpenAlerts } from "../gen/starling/live/v1/live_pb";
import type { Completeness, Sections } from "../gen/starling/v1/cluster_pb";
import { type Card, cardsOf } from "../lib/breach";
import { nodesBehind, type Section } from "../lib/complete";
import * as f from "../lib/format";
import { everyText } from "../lib/interval";
import { moved, movedPercentile } from "../lib/moved";

interface Props {
  label: string;
  view: Pick<LiveView, "shown" | "version">;
  /** Of the newest second. */
  sections: Sections | undefined;
  /** Requests per second aimed at; 0 when none. */
  target: number;
  /** Present on a node's page. */
  median: Median | undefined;
  /** Of the cluster: how many nodes are behind each part. */
  complete?: Completeness | undefined;
  ofNode: boolean;
  /** What is open: of the cluster, or of the node. */
  alerts: OpenAlerts | undefined;
}

export function Kpis({ label, view, sections, target, median, complete, ofNode, alerts }: Props) {
  const { traffic, connections, cpu, memory } = sections ?? {};
  view.version.value;
  const rings = view.shown;
  const spark = (column: Column, zero = false, reference?: number) => (
    <Sparkline view={view} column={column} zero={zero} {...(reference ? { reference } : {})} />
  );
  /** The reference at the top right: the median for a node, the past for the cluster. */
  const against = (
    column: Column,
    how: typeof f.change | typeof f.points,
    value: number | undefined,
    middle: number | undefined,
  ) => (ofNode ? f.timesMedian(value, middle) : moved(rings, column, how));
  const latency = traffic?.latencyLastMinute;
  const like = (v: number) => f.microsLike(v, latency?.p99Micros, latency?.errorBoundPpm);
  /** Said in place of the change: what lacks nodes is not to be compared with what had them. */
  const lacks = (section?: Section) => {
    const behind = nodesBehind(complete, section);
    // In colour when the nodes report and this part of them is absent.
    return behind === undefined ? undefined : { text: behind, marked: behind !== nodesBehind(complete) };
  };
  const broken = cardsOf(alerts?.alerts ?? [], ofNode);
  /** The edge of a card beyond its limit, and the limit. */
  const edge = (card: Card) => (broken[card] ? { breach: broken[card].breach } : {});
  const limit = (card: Card) =>
    broken[card] && broken[card].limit !== "" ? <Fact label="limit" value={broken[card].limit} /> : null;
  const every = everyText(traffic?.reportedEverySeconds);
  const memoryShare = memory?.usedRatio;
  const requests = traffic?.requestsPerSecond;
  const peak = rings.peak("rps.total", rings.newest - 899, rings.newest);
  return (
    <KpiRow label={label}>
      <Kpi
        label="Requests"
        lacks={lacks()}
        change={against("rps.total", f.change, requests, median?.requestsPerSecond)}
        {...(ofNode ? {} : { against: "vs 5 min" })}
        value={f.rate(requests)}
        {...edge("requests")}
        {...(target > 0 && f.known(requests) && requests < target && { breach: "warning" as const })}
        shape={spark("rps.total", false, target)}
      >
        {target > 0 && <Fact label="target" value={f.count(target)} />}
        {ofNode && median ? <Fact label="median" value={f.rate(median.requestsPerSecond)} /> : null}
        {every && (
          <span class="fact" title={every}>
            {every.replace("reported ", "")}
          </span>
        )}
        <Fact label="peak" value={f.rate(peak)} />
      </Kpi>
      <Kpi
        label={ofNode ? "p99, 60 s" : "Latency p99, 60 s"}
        {...edge("latency")}
        lacks={lacks()}
        // The median of the nodes is of one second, so a node too is compared with itself.
        change={movedPercentile(rings, "latency.p99_minute")}
        {...(ofNode ? { against: "vs 5 min" } : {})}
        value={f.microsWithin(latency?.p99Micros, latency?.errorBoundPpm ?? 0)}
        shape={spark("latency.p99", true)}
      >
        {limit("latency")}
        {latency ? (
          <>
            <Fact label="p50" value={like(latency.p50Micros)} />
            <Fact label="p95" value={like(latency.p95Micros)} />
            <Fact label="p99.9" value={like(latency.p999Micros)} />
          </>
        ) : (
          (traffic && "no requests in the last minute") || f.NONE
        )}
      </Kpi>
      <Kpi
        label="Errors"
        {...edge("errors")}
        lacks={lacks()}
        change={ofNode ? null : moved(rings, "errors.total", f.change)}
        value={f.percent(traffic?.errorRatio)}
        shape={spark("errors.total", true)}
      >
        <Fact value={f.rate(traffic?.errorsPerSecond)} />
        {limit("errors")}
        {ofNode && median ? <Fact label="median" value={f.rate(median.errorsPerSecond)} /> : null}
      </Kpi>
      <Kpi
        label="Connections"
        {...edge("connections")}
        lacks={lacks("connections")}
        change={against("connections.active", f.change, connections?.total, median?.connections)}
        value={f.count(connections?.active)}
        shape={spark("connections.active")}
      >
        <Fact label="idle" value={f.count(connections?.idle)} />
        <Fact label="sockets" value={f.count(connections?.total)} />
        <Fact label="new" value={f.rate(connections?.openedPerSecond)} />
      </Kpi>
      <Kpi
        label="CPU"
        {...edge("cpu")}
        lacks={lacks("cpu")}
        change={against("cpu.total", f.points, cpu?.utilizationRatio, median?.cpu)}
        value={f.percent(cpu?.utilizationRatio)}
        shape={spark("cpu.total", true)}
      >
        {limit("cpu")}
        {cpu && <span class="fact">{f.plural(cpu.cores, "core")}</span>}
        {!cpu && <Fact label="load" value={f.NONE} />}
        {cpu && ofNode && (
          <Fact
            label="load"
            value={`${f.significant(cpu.load1)} · ${f.significant(cpu.load5)} · ${f.significant(cpu.load15)}`}
          />
        )}
        {cpu && !ofNode && <Fact label="load" value={`${f.significant(cpu.load1)} per node`} />}
      </Kpi>
      <Kpi
        label="Memory"
        {...edge("memory")}
        lacks={lacks("memory")}
        change={against("memory.used_ratio", f.points, memoryShare, median?.memory)}
        value={f.percent(memoryShare)}
        shape={<ShareBar share={memoryShare} thick />}
      >
        {limit("memory")}
        {memory && (
          <span class="fact">
            <b>{f.bytesOf(memory.usedBytes, memory.totalBytes)}</b>
          </span>
        )}
        {memory?.hugePagesTotalBytes ? (
          <Fact label="huge" value={f.bytes(memory.hugePagesUsedBytes)} />
        ) : null}
      </Kpi>
    </KpiRow>
  );
}

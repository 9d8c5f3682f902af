/** Panels of the overview and of a node that show one resource at the newest second. */
import { COLUMN } from "../api/columns";
import type { LiveView } from "../api/view";
import type { Connections, Cpu, Memory } from "../gen/live_pb";
import {
  axisPercent,
  bytes,
  bytesOf,
  count,
  grouped,
  known,
  NONE,
  percent,
  plural,
  rate,
  significant,
  text,
  wholePercent,
} from "../lib/format";
import { nodeHref } from "../state/router";
import { Arc } from "./Arc";
import { TimeChart } from "./chart";
import type { Series } from "./chart/spec";
import { StatusMark } from "./Icons";
import { ShareBar } from "./Kpi";
import { Absent, Panel } from "./Panel";
import { Sparkline } from "./Sparkline";
import { PartList, StackBar, type StackPart } from "./StackBar";

const CPU_SERIES: readonly Series[] = [{ column: COLUMN.cpu, label: "busy", color: "c-h2", fill: true }];
const SHORT_NAME = 16;
/** Pixels of the panel below its ring, and of one core's bar: a chart takes what few cores leave. */
const BELOW_RING = 150;
const BAR = 24;
const CHART_MIN = 72;

interface CpuProps {
  cpu: Cpu | undefined;
  nodes: number;
  view: Pick<LiveView, "shown" | "version" | "status">;
}

export function CpuPanel({ cpu, nodes, view }: CpuProps) {
  if (!cpu) return <Absent title="CPU" what="No processor data in this second." />;
  const modes = [
    ["User", cpu.user],
    ["System", cpu.system],
    ["I/O wait", cpu.iowait],
    ["Steal", cpu.steal],
  ] as const;
  const busiest = cpu.busiest.slice(0, nodes > 1 ? 5 : 6);
  const left = BELOW_RING - BAR * busiest.length;
  const load = `${significant(cpu.load1)} · ${significant(cpu.load5)} · ${significant(cpu.load15)}`;
  return (
    <Panel title="CPU" note={plural(cpu.cores, "core")} width={4}>
      <div class="side-by-side">
        <Arc
          parts={[{ share: cpu.utilization, color: "c-h2" }]}
          size={92}
          thick={9}
          label={`CPU ${text(percent(cpu.utilization))} of all cores`}
          middle={text(percent(cpu.utilization))}
          middleY={46}
          middleSize={17}
          below="of all cores"
        />
        <dl class="kv tight">
          {modes.map(([name, v]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{text(percent(v))}</dd>
            </div>
          ))}
          <div>
            <dt>Load 1, 5, 15 min</dt>
            <dd>{load}</dd>
          </div>
          {nodes > 1 && (
            <div>
              <dt>Busiest node</dt>
              <dd>{text(percent(cpu.utilizationMax))}</dd>
            </div>
          )}
        </dl>
      </div>
      {busiest.length > 0 && (
        <ul class="bars" aria-label="Busiest cores">
          {busiest.map((c) => (
            <li key={`${c.nodeId}/${c.core}`}>
              {nodes > 1 ? (
                <a href={nodeHref(c.nodeId)} title={`${c.nodeId} core ${c.core}`}>
                  {c.nodeId.length > SHORT_NAME ? `…${c.nodeId.slice(1 - SHORT_NAME)}` : c.nodeId} core{" "}
                  {c.core}
                </a>
              ) : (
                <span>core {c.core}</span>
              )}
              <ShareBar share={c.utilization} />
              <span>{wholePercent(c.utilization)}</span>
            </li>
          ))}
        </ul>
      )}
      {left >= CHART_MIN && (
        <TimeChart
          view={view}
          title="CPU"
          series={CPU_SERIES}
          height={left}
          axis={axisPercent}
          value={percent}
          max={1}
          legend={false}
          empty="No processor data in this time."
        />
      )}
    </Panel>
  );
}

/** What memory is used for, without what is available. */
function memoryParts(m: Memory): StackPart[] {
  return [
    { label: "Application", value: m.application, color: "c-h2" },
    { label: "Buffer and cache", value: m.bufferCache, color: "c-h1" },
    { label: "System", value: m.system, color: "c-ws" },
    { label: "Free", value: m.free, color: "surface-3" },
  ];
}

export function MemoryPanel({ memory, note }: { memory: Memory | undefined; note: string }) {
  if (!memory || memory.total === 0) return <Absent title="Memory" what="No memory data in this second." />;
  const share = memory.used / memory.total;
  const parts = memoryParts(memory);
  const more: StackPart[] = [{ label: "Available", value: memory.available, color: null }];
  if (memory.swapTotal > 0) {
    more.push({ label: `Swap, of ${text(bytes(memory.swapTotal))}`, value: memory.swapUsed, color: null });
  }
  if (memory.hugePagesTotal > 0) {
    more.push({
      label: `Huge pages, of ${text(bytes(memory.hugePagesTotal))}`,
      value: memory.hugePagesUsed,
      color: null,
    });
  }
  const used = bytesOf(memory.used, memory.total);
  return (
    <Panel title="Memory" note={note} width={4}>
      <div class="centre">
        <Arc
          parts={[{ share, color: "c-h2" }]}
          size={150}
          height={86}
          thick={11}
          from={-180}
          sweep={180}
          label={`Memory ${text(percent(share))} used, ${used}`}
          middle={text(percent(share))}
          middleY={62}
          middleSize={20}
          below={used}
        />
      </div>
      <StackBar parts={parts} whole={memory.total} label="Memory" />
      <PartList parts={[...parts, ...more]} whole={memory.total} format={bytes} />
    </Panel>
  );
}

const HEALTH = [
  { key: "healthy", label: "Healthy", mark: "ok", color: "ok-f", column: COLUMN.healthy },
  { key: "warning", label: "Warning", mark: "warning", color: "warn-f", column: COLUMN.warning },
  { key: "error", label: "Error", mark: "critical", color: "crit-f", column: COLUMN.error },
] as const;

export function ConnectionsPanel({
  connections,
  view,
}: {
  connections: Connections | undefined;
  view: Pick<LiveView, "shown" | "version">;
}) {
  if (!connections) return <Absent title="Connection health" what="No connection data in this second." />;
  const sum = connections.healthy + connections.warning + connections.error;
  const parts = HEALTH.map((h) => ({ label: h.label, value: connections[h.key], color: h.color }));
  return (
    <Panel title="Connection health" note={`${grouped(connections.total)} tracked`} width={4} class="stacked">
      <StackBar parts={parts} whole={sum} label="Connections" />
      <table class="t">
        <thead>
          <tr>
            <th scope="col">State</th>
            <th scope="col">Connections</th>
            <th scope="col">Share</th>
            <th scope="col">Trend</th>
          </tr>
        </thead>
        <tbody>
          {HEALTH.map((h) => (
            <tr key={h.key}>
              <th scope="row">
                <StatusMark mark={h.mark} /> {h.label}
              </th>
              <td>{grouped(connections[h.key])}</td>
              <td>{sum > 0 ? text(percent(connections[h.key] / sum)) : NONE}</td>
              <td class="trend">
                <Sparkline view={view} column={h.column} color={h.color} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <dl class="kv two">
        <div>
          <dt>Active</dt>
          <dd>{text(count(connections.active))}</dd>
        </div>
        <div>
          <dt>Opened</dt>
          <dd>{text(rate(connections.openedPerSecond))}</dd>
        </div>
        <div>
          <dt>Idle</dt>
          <dd>{text(count(connections.idle))}</dd>
        </div>
        <div>
          <dt>Resets</dt>
          <dd>{text(rate(connections.resetsPerSecond))}</dd>
        </div>
        <div>
          <dt>Retransmits</dt>
          <dd>{known(connections.retransmitRatio) ? text(percent(connections.retransmitRatio)) : NONE}</dd>
        </div>
        <div>
          <dt>Errors</dt>
          <dd>{sum > 0 ? text(percent(connections.error / sum)) : NONE}</dd>
        </div>
      </dl>
      <p class="small">Warning: open, with over 2% of segments sent again or silent past 300&#8239;s.</p>
    </Panel>
  );
}

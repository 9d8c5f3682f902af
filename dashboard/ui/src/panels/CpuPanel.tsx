/** The processors of the cluster or of one node in the newest second: share, modes, busiest cores. */
import type { LiveView } from "../api/view";
import { Arc } from "../components/Arc";
import { TimeChart } from "../components/chart";
import { ShareBar } from "../components/Kpi";
import { Absent, Panel } from "../components/Panel";
import type { Cpu } from "../gen/starling/v1/cluster_pb";
import { noted } from "../lib/complete";
import { percent, plural, significant, text, wholePercent } from "../lib/format";
import { modesOf } from "../lib/modes";
import { nodeHref } from "../state/router";
import { PANELS } from "./table";

const SHORT_NAME = 16;
/** Pixels of the panel below its ring, and of one core's bar: a chart takes what few cores leave. */
const BELOW_RING = 150;
const BAR = 24;
const CHART_MIN = 72;

interface CpuProps {
  cpu: Cpu | undefined;
  nodes: number;
  view: Pick<LiveView, "shown" | "version" | "status" | "nodeId" | "group">;
  /** "2 of 3 nodes" when some are not in it. */
  lacks: string | undefined;
}

export function CpuPanel({ cpu, nodes, view, lacks }: CpuProps) {
  if (!cpu) return <Absent title="CPU" what="No processor data in this second." />;
  const busiest = cpu.busiest.slice(0, nodes > 1 ? 5 : 6);
  const left = BELOW_RING - BAR * busiest.length;
  const load = `${significant(cpu.load1)} · ${significant(cpu.load5)} · ${significant(cpu.load15)}`;
  return (
    <Panel title="CPU" note={noted(plural(cpu.cores, "core"), lacks)} width={4}>
      <div class="side-by-side">
        <Arc
          parts={[{ share: cpu.utilizationRatio, color: "c-h2" }]}
          size={92}
          thick={9}
          label={`CPU ${text(percent(cpu.utilizationRatio))} of all cores`}
          middle={text(percent(cpu.utilizationRatio))}
          middleY={46}
          middleSize={17}
          below="of all cores"
        />
        <dl class="kv tight">
          {modesOf(cpu).map(([name, v]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{text(percent(v))}</dd>
            </div>
          ))}
          <div>
            <dt>Load 1, 5, 15 min{nodes > 1 && ", mean"}</dt>
            <dd>{load}</dd>
          </div>
          {nodes > 1 && (
            <div>
              <dt>Busiest node</dt>
              <dd>{text(percent(cpu.utilizationRatioMax))}</dd>
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
              <ShareBar share={c.utilizationRatio} />
              <span>{wholePercent(c.utilizationRatio)}</span>
            </li>
          ))}
        </ul>
      )}
      {left >= CHART_MIN && (
        <TimeChart
          view={view}
          title={PANELS.cpu.title}
          series={PANELS.cpu.series}
          height={left}
          {...PANELS.cpu.scale}
          legend={false}
          empty={PANELS.cpu.empty}
        />
      )}
    </Panel>
  );
}

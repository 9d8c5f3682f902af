/** Requests by protocol in the newest second: shares, figures, and the shape of each. */
import { Fragment } from "preact";
import { type Protocol, protocolColor, protocolLabel, requestsColumn } from "../api/columns";
import type { LiveView } from "../api/view";
import { Arc } from "../components/Arc";
import { StatusMark, severityMark } from "../components/Icons";
import { Absent, Panel } from "../components/Panel";
import { Sparkline } from "../components/Sparkline";
import { NO_REQUESTS } from "../components/words";
import { Severity } from "../gen/starling/live/v1/live_pb";
import type { Traffic } from "../gen/starling/v1/cluster_pb";
import { noted } from "../lib/complete";
import { count, micros, microsWithin, percent, rate, text } from "../lib/format";
import { everyText } from "../lib/interval";

interface ProtocolsProps {
  traffic: Traffic | undefined;
  /** How each protocol is doing, in the order of `traffic.protocols`. */
  severities: readonly Severity[];
  view: Pick<LiveView, "shown" | "version">;
  /** "2 of 3 nodes" when some are not in it. */
  lacks: string | undefined;
}

/** Where the panel is taller than its table needs, the lines under each protocol take the room. */
export function ProtocolsPanel({ traffic, severities, view, lacks }: ProtocolsProps) {
  if (!traffic || traffic.protocols.length === 0) {
    return <Absent title="Protocols" what={NO_REQUESTS} />;
  }
  const every = everyText(traffic.reportedEverySeconds);
  const all = traffic.protocols
    .map((p, i) => ({
      ...p,
      name: p.protocol,
      requestsPerSecond: p.requestsPerSecond ?? 0,
      severity: severities[i] || Severity.OK,
    }))
    .sort((a, b) => b.requestsPerSecond - a.requestsPerSecond || a.name.localeCompare(b.name));
  const sum = all.reduce((a, p) => a + p.requestsPerSecond, 0);
  const total = rate(sum);
  const share = (v: number) => (sum > 0 ? v / sum : Number.NaN);
  return (
    <Panel title="Protocols" note={noted("share of requests", lacks)} width={4} class="stacked">
      <div class="side-by-side">
        <Arc
          parts={all.map((p) => ({ share: share(p.requestsPerSecond), color: protocolColor(p.name) }))}
          size={92}
          thick={15}
          gap={sum > 0 && all.filter((p) => p.requestsPerSecond > 0).length > 1 ? 2 : 0}
          label={`Share of requests: ${all.map((p) => `${protocolLabel(p.name)} ${text(percent(share(p.requestsPerSecond)))}`).join(", ")}`}
          middle={total.value}
          middleY={46}
          middleSize={17}
          below={total.unit}
        />
        <dl class="kv">
          {all.map((p) => (
            <div key={p.name}>
              <dt>
                <i class="sw" style={{ backgroundColor: `var(--${protocolColor(p.name)})` }} />
                {protocolLabel(p.name)}
              </dt>
              <dd>{text(percent(share(p.requestsPerSecond)))}</dd>
            </div>
          ))}
        </dl>
      </div>
      <div class="rest">
        <table class="t protocols">
          <thead>
            <tr>
              <th scope="col">Protocol</th>
              <th scope="col">Req/s</th>
              <th scope="col">Avg</th>
              <th scope="col">p99</th>
              <th scope="col">Err/s</th>
              <th scope="col">Active</th>
            </tr>
          </thead>
          <tbody>
            {all.map((p) => (
              <Fragment key={p.name}>
                <tr>
                  <th scope="row">
                    <StatusMark mark={severityMark(p.severity).mark} /> {protocolLabel(p.name)}
                    {p.reportedEverySeconds !== undefined && (
                      <sup title={everyText(p.reportedEverySeconds)}>*</sup>
                    )}
                  </th>
                  <td>{text(count(p.requestsPerSecond))}</td>
                  <td>{text(micros(p.latency?.meanMicros))}</td>
                  <td>{text(microsWithin(p.latency?.p99Micros, p.latency?.errorBoundPpm ?? 0))}</td>
                  <td>{text(count(p.errorsPerSecond))}</td>
                  <td>{text(count(p.active))}</td>
                </tr>
                <tr class="line">
                  <td colSpan={6}>
                    <Sparkline
                      view={view}
                      column={requestsColumn(p.name as Protocol)}
                      color={protocolColor(p.name)}
                      zero
                    />
                  </td>
                </tr>
              </Fragment>
            ))}
          </tbody>
        </table>
      </div>
      {every && (
        <p class="small">
          * {every}: shown evenly over that time, exact in total, and as late.{" "}
          <code>OTEL_METRIC_EXPORT_INTERVAL=1000</code> in the application makes it live.
        </p>
      )}
    </Panel>
  );
}

/** What applications serve: requests, latency and failures, by service, by protocol and over time. */
import { PinRow } from "../components/PinRow";
import { Shell, TRAFFIC } from "../components/Shell";
import { Verdict } from "../components/Verdict";
import { CONNECTING, lackText } from "../components/words";
import { nodesBehind, noted } from "../lib/complete";
import { everyText } from "../lib/interval";
import { OutliersPanel } from "../panels/OutliersPanel";
import { ProtocolsPanel } from "../panels/ProtocolsPanel";
import { ServicesPanel } from "../panels/ServicesPanel";
import { TimePanel } from "../panels/TimePanel";
import { live } from "../state/page";
import { Heatmap } from "./OverTime";

export function TrafficPage() {
  const view = live.overview;
  const state = view.state.value;
  const traffic = state?.sections?.traffic;
  const lacks = nodesBehind(state?.completeness);
  const every = everyText(traffic?.reportedEverySeconds);
  return (
    <Shell title={TRAFFIC}>
      <Verdict
        verdict={state?.judged?.verdict}
        waiting={lackText.value ?? CONNECTING}
        label="Cluster state"
      />
      <PinRow />
      <div class="grid">
        <ServicesPanel />
        <OutliersPanel />
        <TimePanel
          view={view}
          panel="timeline"
          over={noted(lacks, every)}
          width={8}
          height={190}
          stacked
          totalColumn="rps.total"
          noDataLabel
        />
        <ProtocolsPanel
          traffic={traffic}
          severities={state?.judged?.protocols ?? []}
          view={view}
          lacks={lacks}
        />
        <Heatmap />
        <TimePanel view={view} panel="errors" over={lacks} height={214} />
        <TimePanel view={view} panel="latency" over={lacks} width={12} height={190} />
      </div>
    </Shell>
  );
}

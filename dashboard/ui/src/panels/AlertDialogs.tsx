/** What one alert is in full, and the form that says that somebody looks after it. Loaded when first asked for. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type AlertDetails, acknowledge, alertDetails } from "../api/alerts";
import { problemOf } from "../api/ask";
import { Dialog } from "../components/Dialog";
import { FactList } from "../components/FactList";
import { ruleTitle, webAddress, written } from "../lib/alerts";
import { secondOf } from "../lib/analysis";
import * as f from "../lib/format";
import { lazy } from "../lib/lazy";
import { serverNow } from "../state/page";
import { DialogForm } from "./DialogForm";

/** It draws lines over time as others do. */
const overTime = lazy(() => import("./overTime"));

/** For how long nobody else needs to look, seconds; 0 until it is over. */
const TERMS = [
  [0, "until it is over"],
  [3_600, "for an hour"],
  [28_800, "for 8 hours"],
  [86_400, "for a day"],
] as const;

interface AcknowledgeProps {
  id: string;
  sentence: string;
  done: (alert: AlertDetails) => void;
  close: () => void;
}

export { SilenceDialog } from "./SilenceDialog";

export function AcknowledgeDialog({ id, sentence, done, close }: AcknowledgeProps) {
  return (
    <Dialog title="Acknowledge" close={close}>
      <p class="said">{sentence}.</p>
      <DialogForm
        submit="Acknowledge"
        term={{ label: "Quiet", options: TERMS, first: 0 }}
        send={(who, comment, seconds) => acknowledge(id, who, comment, seconds)}
        done={done}
        close={close}
      />
    </Dialog>
  );
}

const moment = (time: string) => `${f.dated(secondOf(time))} ${f.zoneName()}`;

function factsOf(a: AlertDetails): [string, string][] {
  const facts: [string, string][] = [
    ["Rule", a.metric],
    [
      "Severity",
      a.severities.length > 1
        ? a.severities.map((s) => `${s.severity} ${f.clock(secondOf(s.since))}`).join(", ")
        : a.severity,
    ],
    ["State", a.state],
    ["Since", `${moment(a.since)}, ${f.span(serverNow() - secondOf(a.since))}`],
    ["Value", a.currentText ?? f.NONE],
    ["At firing", written(a.valueAtFiring, a.unit)],
    ["Limit", `${a.direction} ${a.thresholdText ?? written(a.threshold, a.unit)}`],
    ["Over at", written(a.clearThreshold, a.unit)],
    ["Worst", a.worstText ?? f.NONE],
  ];
  if (a.firedAt) facts.push(["Fired", moment(a.firedAt)]);
  if (a.endedAt) facts.push(["Ended", moment(a.endedAt)]);
  if (a.noDataSince) facts.push(["No data since", moment(a.noDataSince)]);
  if (a.crossings > 1) facts.push(["Crossings", `${f.grouped(a.crossings)} times bad and good again`]);
  if (a.nodesExpected !== null) {
    facts.push(["Nodes in it", `${f.grouped(a.nodesReporting ?? 0)} of ${f.grouped(a.nodesExpected)}`]);
  }
  for (const [key, value] of Object.entries({ ...a.attributes, ...a.labels })) facts.push([key, value]);
  if (a.acknowledgement) {
    const { who, at, until, comment } = a.acknowledgement;
    const term = until ? `, until ${f.dated(secondOf(until))}` : "";
    facts.push([
      "Acknowledged",
      `${who}, ${f.dated(secondOf(at))}${term}${comment === "" ? "" : `: ${comment}`}`,
    ]);
  }
  if (a.silencedBy.length > 0) facts.push(["Silenced by", a.silencedBy.join(", ")]);
  if (a.heldBackBy) facts.push(["Messages", "held back while an alert of a wider scope is told"]);
  if (a.children.length > 0) facts.push(["Stands above", f.plural(a.children.length, "alert")]);
  return facts;
}

export function DetailsDialog({ id, close }: { id: string; close: () => void }) {
  const alert = useSignal<AlertDetails | null>(null);
  const problem = useSignal("");
  useEffect(() => {
    overTime.load();
    const mine = new AbortController();
    alertDetails(id, mine.signal).then(
      (answer) => {
        alert.value = answer;
      },
      (error) => {
        if (!mine.signal.aborted) problem.value = problemOf(error);
      },
    );
    return () => mine.abort();
  }, [id]);
  const a = alert.value;
  const Chart = a?.chart ? overTime.part.value?.AlertChart : undefined;
  const runbook = a?.runbook ? webAddress(a.runbook) : null;
  return (
    <Dialog title={a ? ruleTitle(a.metric) : "Alert"} close={close}>
      {a ? (
        <>
          <p class="said">{a.sentence}.</p>
          {a.description !== "" && <p class="said">{a.description}</p>}
          {a.resolution && (
            <p class="said">
              <b>What to do:</b> {a.resolution}
            </p>
          )}
          <pre>{a.expression}</pre>
          {Chart && <Chart alert={a} />}
          <FactList class="kv details" facts={factsOf(a)} />
        </>
      ) : (
        <p class="said" role="status">
          {problem.value === "" ? "Loading." : problem.value}
        </p>
      )}
      <div class="row">
        <button type="button" class="btn" onClick={close}>
          Close
        </button>
        {runbook && (
          <a class="btn" href={runbook} target="_blank" rel="noreferrer">
            Runbook
          </a>
        )}
      </div>
    </Dialog>
  );
}

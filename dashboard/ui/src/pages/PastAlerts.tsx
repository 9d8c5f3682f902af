/** Alerts that are over, newest first, a page at a time. */
import { useSignal } from "@preact/signals";
import type { AlertDetails, EpisodesAnswer } from "../api/alerts";
import { alertMark, StatusMark } from "../components/Icons";
import { Panel } from "../components/Panel";
import { WideTable } from "../components/WideTable";
import { holds, written } from "../lib/alerts";
import { secondOf } from "../lib/analysis";
import * as f from "../lib/format";
import { useAnswer } from "../panels/useAnswer";
import { Subject, titleOf } from "./AlertTable";

/** Alerts of a page. */
const LIMIT = 50;
/** Seconds after which the newest page is asked for again. */
const EVERY = 15;

const COLUMNS = [
  ["Alert", "tx"],
  ["Of", "tx wide-only"],
  [`Since, ${f.zoneName()}`, "tx"],
  ["Lasted"],
  ["Worst", "wide-only"],
  ["Limit", "wide-only"],
  ["Ended", "tx wide-only"],
] as const;

/** How an alert ended, in words; the others say it themselves. */
const OUTCOMES: Record<string, string> = {
  passed: "passed before it fired",
  ruleChanged: "rule changed",
  merged: "goes on in an earlier one",
};

/** Why it is over. */
const outcomeText = (outcome: string | null) => (outcome === null ? f.NONE : (OUTCOMES[outcome] ?? outcome));

function Row({ alert, details }: { alert: AlertDetails; details: (alert: AlertDetails) => void }) {
  const since = secondOf(alert.since);
  const title = titleOf(alert);
  return (
    <tr>
      <th scope="row">
        <StatusMark mark={alertMark(alert.severity)} />
        <span class="sr">{alert.severity}: </span>
        <button
          type="button"
          class="lk"
          aria-label={`View details of ${title}, ${alert.subject ?? "cluster"}`}
          onClick={() => details(alert)}
        >
          {title}
        </button>
        <span class="of-small">
          <Subject alert={alert} />
        </span>
      </th>
      <td class="tx wide-only">
        <Subject alert={alert} />
      </td>
      <td class="tx">{f.dated(since)}</td>
      <td>{alert.endedAt ? f.span(secondOf(alert.endedAt) - since) : f.NONE}</td>
      <td class="wide-only">{written(alert.worst, alert.unit)}</td>
      <td class="wide-only">{written(alert.threshold, alert.unit)}</td>
      <td class="tx wide-only">{outcomeText(alert.outcome)}</td>
    </tr>
  );
}

export function PastAlerts({ words, details }: { words: string; details: (alert: AlertDetails) => void }) {
  // The tokens of the pages that were turned; the newest page has none.
  const turned = useSignal<readonly string[]>([]);
  const page = turned.value.at(-1);
  const { answer, problem } = useAnswer<EpisodesAnswer>(
    `episodes ${page ?? ""}`,
    "/api/v1/episodes",
    { limit: LIMIT, page },
    { every: page === undefined ? EVERY : undefined },
  );
  const over = (answer?.episodes ?? []).filter((alert) => alert.endedAt !== null);
  const rows = words === "" ? over : over.filter((alert) => holds(alert, words));
  const older = answer?.nextPage ?? null;
  const controls = (
    <>
      {page !== undefined && (
        <button
          type="button"
          class="lk"
          onClick={() => {
            turned.value = turned.value.slice(0, -1);
          }}
        >
          Newer
        </button>
      )}
      {older !== null && (
        <button
          type="button"
          class="lk"
          onClick={() => {
            turned.value = [...turned.value, older];
          }}
        >
          Older
        </button>
      )}
    </>
  );
  return (
    <Panel title="Past" note="newest first" width={12} controls={controls} class="flush">
      {problem !== null && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {answer !== null && rows.length === 0 && (
        <p class="absent">{words === "" ? "No alert is over yet." : "None on this page has these words."}</p>
      )}
      {rows.length > 0 && (
        <WideTable label="Table of past alerts" columns={COLUMNS} class="alerts-t">
          {rows.map((alert) => (
            <Row key={alert.id} alert={alert} details={details} />
          ))}
        </WideTable>
      )}
    </Panel>
  );
}

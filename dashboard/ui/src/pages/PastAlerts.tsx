/** Alerts that are over, newest first, a page at a time. */
import { useSignal } from "@preact/signals";
import type { AlertDetails, EpisodesAnswer } from "../api/alerts";
import { StatusMark } from "../components/Icons";
import { Panel } from "../components/Panel";
import { holds, written } from "../lib/alerts";
import * as f from "../lib/format";
import { useAnswer } from "../panels/useAnswer";
import { markOf, Subject, secondsOf, titleOf } from "./AlertTable";

/** Alerts of a page. */
const LIMIT = 50;
/** Seconds after which the newest page is asked for again. */
const EVERY = 15;

/** How an alert ended, in words; the others say it themselves. */
const OUTCOMES: Record<string, string> = { passed: "passed before it fired", ruleChanged: "rule changed" };

/** Why it is over. */
const outcomeText = (outcome: string | null) => (outcome === null ? f.NONE : (OUTCOMES[outcome] ?? outcome));

function Row({ alert, details }: { alert: AlertDetails; details: (alert: AlertDetails) => void }) {
  const since = secondsOf(alert.since);
  const title = titleOf(alert);
  return (
    <tr>
      <th scope="row">
        <StatusMark mark={markOf(alert.severity)} />
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
      <td>{alert.endedAt ? f.span(secondsOf(alert.endedAt) - since) : f.NONE}</td>
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
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
        <section class="wide" tabIndex={0} aria-label="Table of past alerts">
          <table class="t nodes alerts-t">
            <thead>
              <tr>
                <th scope="col" class="tx">
                  Alert
                </th>
                <th scope="col" class="tx wide-only">
                  Of
                </th>
                <th scope="col" class="tx">
                  Since, {f.zoneName()}
                </th>
                <th scope="col">Lasted</th>
                <th scope="col" class="wide-only">
                  Worst
                </th>
                <th scope="col" class="wide-only">
                  Limit
                </th>
                <th scope="col" class="tx wide-only">
                  Ended
                </th>
              </tr>
            </thead>
            <tbody>
              {rows.map((alert) => (
                <Row key={alert.id} alert={alert} details={details} />
              ))}
            </tbody>
          </table>
        </section>
      )}
    </Panel>
  );
}

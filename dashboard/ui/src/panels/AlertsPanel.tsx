/** What is open: severity, value against limit, age, what to do, and who looks after it. */
import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { unacknowledge } from "../api/alerts";
import { problemOf } from "../api/ask";
import { alertMark, StatusMark } from "../components/Icons";
import { Absent, Panel } from "../components/Panel";
import type { OpenAlerts } from "../gen/starling/live/v1/live_pb";
import type { Alert, AlertEpisode } from "../gen/starling/v1/alerts_pb";
import * as a from "../lib/alerts";
import { clockWithin, grouped, span } from "../lib/format";
import { lazy } from "../lib/lazy";
import { ownName } from "../state/name";
import { newest } from "../state/page";
import { nodeHref } from "../state/router";
import { barred } from "../state/session";

const dialogs = lazy(() => import("./AlertDialogs"));

/** What was answered to this page and the live view may not have yet, for so many seconds. */
const ANSWERED_SECONDS = 5;
/** By id: who looks after it now (null: nobody), and since which second of the data that is known. */
type Answered = ReadonlyMap<string, { who: string | null; at: number }>;

const idOf = (alert: Alert) => alert.episode?.episodeId ?? "";

/** Who looks after it and since when, or why it is quiet. */
function Attended({ alert, who, now }: { alert: Alert; who: string | null; now: number }) {
  const ack = alert.acknowledgement;
  const comment = ack && ack.comment !== "" ? `: ${ack.comment}` : "";
  const at = ack
    ? ` ${clockWithin(Number(ack.atUnixMs) / 1000, Math.max(60, now - Number(ack.atUnixMs) / 1000), 60)}`
    : "";
  return (
    <>
      {who !== null && (
        <span class="who">
          Acknowledged by {who}
          {at}
          {comment}
        </span>
      )}
      {alert.silencedBy.length > 0 && <span class="who">Silenced</span>}
    </>
  );
}

interface ItemProps {
  alert: Alert;
  episode: AlertEpisode;
  who: string | null;
  /** Of the page of a node its own name is not said. */
  ofNode: boolean;
  now: number;
  acknowledge: () => void;
  takeBack: () => void;
  details: () => void;
}

function Item({ alert, episode, who, ofNode, now, acknowledge, takeBack, details }: ItemProps) {
  const { value, rest } = a.valueText(alert);
  const part = a.partsText(episode);
  const node = a.nodeOf(episode);
  const title = `${a.ruleTitle(episode.rule)}${part === "" ? "" : ` ${part}`}`;
  const whose = `${title}, ${a.subjectText(episode)}`;
  const quiet = who !== null || alert.silencedBy.length > 0;
  return (
    <li class={quiet ? "quiet" : ""} data-episode={episode.episodeId}>
      <StatusMark mark={alertMark(a.severityWord(episode.severity))} />
      <div class="h">
        <span class="sr">{a.severityWord(episode.severity)}: </span>
        <b title={alert.sentence}>{title}</b>
        {!ofNode &&
          (node === "" ? <span>{a.subjectText(episode)}</span> : <a href={nodeHref(node)}>{node}</a>)}
      </div>
      <time title={`since ${new Date(episode.sinceTick * 1000).toISOString()}`}>
        {span(now - episode.sinceTick)}
      </time>
      <p class="x">
        <b>{value}</b>
        {rest}.
        {episode.absentSinceTick !== undefined && ` No data for ${span(now - episode.absentSinceTick)}.`}
      </p>
      {alert.resolution !== "" && (
        <p class="x do" title={alert.resolution}>
          {alert.resolution}
        </p>
      )}
      <div class="a">
        <Attended alert={alert} who={who} now={now} />
        {who === null ? (
          <button
            type="button"
            class="lk"
            aria-label={`Acknowledge ${whose}`}
            disabled={barred.value !== undefined}
            title={barred.value}
            onClick={acknowledge}
          >
            Acknowledge
          </button>
        ) : (
          <button
            type="button"
            class="lk"
            aria-label={`Take back the acknowledgement of ${whose}`}
            disabled={barred.value !== undefined}
            title={barred.value}
            onClick={takeBack}
          >
            Take back
          </button>
        )}
        <button type="button" class="lk" aria-label={`View details of ${whose}`} onClick={details}>
          View details
        </button>
      </div>
    </li>
  );
}

/** The order stays while the list is pointed at or holds the focus. */
function useHeld(list: readonly Alert[], holding: Signal<boolean>): readonly Alert[] {
  const shown = useRef<string[]>([]);
  const ordered = holding.value ? a.held(list, shown.current, idOf) : list;
  shown.current = ordered.map(idOf);
  return ordered;
}

interface Props {
  alerts: OpenAlerts | undefined;
  ofNode?: boolean;
  width?: 4 | 8;
}

export function AlertsPanel({ alerts, ofNode = false, width = 4 }: Props) {
  const answered = useSignal<Answered>(new Map());
  const open = useSignal<{ what: "acknowledge" | "details"; alert: Alert } | null>(null);
  const problem = useSignal("");
  const holding = useSignal(false);
  const list = useHeld(alerts?.alerts ?? [], holding);
  const title = ofNode ? "Alerts" : "Performance alerts";
  const now = newest.value;
  // Whoever comes to an alert by keyboard or pointer will ask for one of the two.
  useEffect(() => {
    if (holding.value) dialogs.load();
  }, [holding.value]);
  const whoOf = (alert: Alert): string | null => {
    const own = answered.value.get(idOf(alert));
    if (own && now - own.at < ANSWERED_SECONDS) return own.who;
    return alert.acknowledgement?.author ?? null;
  };
  const knows = (alert: Alert, who: string | null) => {
    answered.value = new Map(answered.value).set(idOf(alert), { who, at: newest.peek() });
  };
  const ask = (what: "acknowledge" | "details", alert: Alert) => {
    dialogs.load();
    open.value = { what, alert };
  };
  const close = () => {
    open.value = null;
  };
  const takeBack = (alert: Alert) => {
    problem.value = "";
    unacknowledge(idOf(alert), ownName() || whoOf(alert) || "somebody").then(
      () => knows(alert, null),
      (error) => {
        problem.value = problemOf(error);
      },
    );
  };
  const parts = dialogs.part.value;
  const asked = open.value;
  return (
    <>
      {!alerts || list.length === 0 ? (
        <Absent
          title={title}
          what={alerts ? a.emptyText(alerts) : "Alerts are not known yet."}
          width={width}
        />
      ) : (
        <Panel title={title} note={`${grouped(alerts.open)} open`} width={width} class="alerts-body">
          <ul
            class="alerts"
            aria-label={title}
            onPointerEnter={() => {
              holding.value = true;
            }}
            onPointerLeave={() => {
              holding.value = false;
            }}
            onFocusIn={() => {
              holding.value = true;
            }}
            onFocusOut={() => {
              holding.value = false;
            }}
          >
            {list.map(
              (alert) =>
                alert.episode && (
                  <Item
                    key={idOf(alert)}
                    alert={alert}
                    episode={alert.episode}
                    who={whoOf(alert)}
                    ofNode={ofNode}
                    now={now}
                    acknowledge={() => ask("acknowledge", alert)}
                    takeBack={() => takeBack(alert)}
                    details={() => ask("details", alert)}
                  />
                ),
            )}
            {alerts.open > list.length && (
              <li class="more">
                <a href="/alerts">{grouped(alerts.open - list.length)} more</a>
              </li>
            )}
          </ul>
          {(problem.value !== "" || (asked && dialogs.failed.value)) && (
            <p class="problem" role="alert">
              {problem.value || "This could not be loaded from the server; load the page again."}
            </p>
          )}
        </Panel>
      )}
      {asked && parts && asked.what === "details" && (
        <parts.DetailsDialog id={idOf(asked.alert)} close={close} />
      )}
      {asked && parts && asked.what === "acknowledge" && (
        <parts.AcknowledgeDialog
          id={idOf(asked.alert)}
          sentence={asked.alert.sentence}
          done={(answer) => {
            knows(asked.alert, answer.acknowledgement?.who ?? null);
            close();
          }}
          close={close}
        />
      )}
    </>
  );
}

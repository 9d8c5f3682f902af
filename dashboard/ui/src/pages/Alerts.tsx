/** All alerts: what is open, what is silenced and until when, what was, and the rules behind it. */
import { useSignal } from "@preact/signals";
import type { OpenAnswer } from "../api/alerts";
import { Panel } from "../components/Panel";
import { Shell } from "../components/Shell";
import { CONNECTING, lackText } from "../components/words";
import { families, holds } from "../lib/alerts";
import { grouped } from "../lib/format";
import { lazy } from "../lib/lazy";
import { useAnswer } from "../panels/useAnswer";
import { query, setQuery } from "../state/router";
import { AlertTable } from "./AlertTable";
import { PastAlerts } from "./PastAlerts";
import { RuleTable } from "./RuleTable";
import { SilenceTable } from "./SilenceTable";

const dialogs = lazy(() => import("../panels/AlertDialogs"));

/** Seconds after which what is open is asked for again. */
const EVERY = 2;
/** Open alerts drawn at once; the text narrows them down. */
const SHOWN_MAX = 300;

/** What a dialog is open for. */
type Asked = { what: "acknowledge" | "details" | "silence"; id: string; sentence: string };

function Filter() {
  return (
    <input
      class="input"
      type="search"
      placeholder="Rule, node, label"
      aria-label="Filter alerts, for example: error zone:b disk"
      autocomplete="off"
      spellcheck={false}
      value={query.value.get("q") ?? ""}
      onInput={(e) => setQuery("q", e.currentTarget.value)}
    />
  );
}

export function AlertsPage() {
  const asked = useSignal<Asked | null>(null);
  // Rises with every change made here, so that what it touches is read again at once.
  const changed = useSignal(0);
  const { answer, problem } = useAnswer<OpenAnswer>(
    "open",
    "/api/v1/alerts",
    {},
    { every: EVERY, changes: changed.value },
  );
  const q = (query.value.get("q") ?? "").trim();
  const all = answer?.alerts ?? [];
  const found = q === "" ? all : all.filter((alert) => holds(alert, q));
  const rows = families(found);
  const open = (what: Asked["what"]) => (alert: { id: string; sentence: string; metric: string }) => {
    dialogs.load();
    asked.value = { what, id: alert.id, sentence: alert.sentence };
  };
  const close = () => {
    asked.value = null;
  };
  const done = () => {
    changed.value++;
    close();
  };
  const parts = dialogs.part.value;
  const it = asked.value;
  const note =
    answer === null ? "" : q === "" ? grouped(all.length) : `${found.length} of ${grouped(all.length)}`;
  const unknown = answer?.unavailable ?? problem;
  return (
    <Shell title="Alerts">
      <div class="grid">
        <Panel title="Open" note={note} width={12} controls={<Filter />} class="flush">
          {unknown !== null && unknown !== undefined && (
            <p class="problem" role="alert">
              Alerts are not known: {unknown}
            </p>
          )}
          {answer === null && unknown === null && <p class="absent">{lackText.value ?? CONNECTING}</p>}
          {answer !== null && answer.unavailable === null && rows.length === 0 && (
            <p class="absent">
              {q === ""
                ? `No alert is open. ${grouped(answer.rules ?? 0)} rules are watched each second.`
                : "No open alert has these words."}
            </p>
          )}
          {rows.length > 0 && (
            <AlertTable
              rows={rows.slice(0, SHOWN_MAX)}
              acknowledge={open("acknowledge")}
              silence={open("silence")}
              details={open("details")}
            />
          )}
          {rows.length > SHOWN_MAX && (
            <p class="absent">{grouped(rows.length - SHOWN_MAX)} more: narrow them down by words.</p>
          )}
        </Panel>
        <SilenceTable
          changed={changed}
          add={() => {
            dialogs.load();
            asked.value = { what: "silence", id: "", sentence: "" };
          }}
        />
        <PastAlerts words={q} details={open("details")} />
        <RuleTable />
      </div>
      {it && dialogs.failed.value && (
        <p class="problem" role="alert">
          This could not be loaded from the server; load the page again.
        </p>
      )}
      {it && parts && it.what === "details" && <parts.DetailsDialog id={it.id} close={close} />}
      {it && parts && it.what === "acknowledge" && (
        <parts.AcknowledgeDialog id={it.id} sentence={it.sentence} done={done} close={close} />
      )}
      {it && parts && it.what === "silence" && (
        <parts.SilenceDialog of={all.find((alert) => alert.id === it.id) ?? null} done={done} close={close} />
      )}
    </Shell>
  );
}

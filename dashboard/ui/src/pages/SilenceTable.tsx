/** Silences in force, to come, and those that ended within a day. */
import { type Signal, useSignal } from "@preact/signals";
import { endSilence, type SilenceDetails, type SilencesAnswer } from "../api/alerts";
import { Refused } from "../api/ask";
import { Panel } from "../components/Panel";
import { matcherText } from "../lib/alerts";
import * as f from "../lib/format";
import { useAnswer } from "../panels/useAnswer";
import { ownName } from "../state/name";
import { serverNow } from "../state/page";
import { secondsOf } from "./AlertTable";

/** Seconds after which they are asked for again. */
const EVERY = 5;

/** Where a silence stands, and how long it stays there. */
function standing({ starts, ends }: SilenceDetails): { text: string; over: boolean } {
  const now = serverNow();
  if (secondsOf(ends) <= now) return { text: `ended ${f.span(now - secondsOf(ends))} ago`, over: true };
  if (secondsOf(starts) > now) return { text: `begins in ${f.span(secondsOf(starts) - now)}`, over: false };
  return { text: `${f.span(secondsOf(ends) - now)} left`, over: false };
}

function Row({ silence, end }: { silence: SilenceDetails; end: () => void }) {
  const { text, over } = standing(silence);
  const what = silence.matchers.map(matcherText).join(", ");
  return (
    <tr class={over ? "dim" : ""}>
      <th scope="row">
        <code>{what}</code>
      </th>
      <td class="tx">{silence.who}</td>
      <td class="tx">{silence.comment || f.NONE}</td>
      <td class="tx">{f.dated(secondsOf(silence.ends))}</td>
      <td class="tx">{text}</td>
      <td class="tx acts">
        {!over && silence.id !== null && (
          <button type="button" class="lk" aria-label={`End the silence of ${what}`} onClick={end}>
            End now
          </button>
        )}
      </td>
    </tr>
  );
}

/** `changed` rises when a silence was made; `add` asks for a new one. */
export function SilenceTable({ changed, add }: { changed: Signal<number>; add: () => void }) {
  const refused = useSignal("");
  const { answer, problem } = useAnswer<SilencesAnswer>(
    "silences",
    "/api/v1/silences",
    {},
    { every: EVERY, changes: changed.value },
  );
  const end = (silence: SilenceDetails) => {
    refused.value = "";
    endSilence(silence.id ?? "", ownName() || silence.who || "somebody").then(
      () => {
        changed.value++;
      },
      (error) => {
        refused.value = error instanceof Refused ? error.message : "The server does not answer.";
      },
    );
  };
  const rows = answer?.silences ?? [];
  const said = refused.value || problem;
  return (
    <Panel
      title="Silences"
      note={rows.length > 0 ? "in force, to come, and of the last day" : ""}
      width={12}
      controls={
        <button type="button" class="btn" onClick={add}>
          New silence
        </button>
      }
      class="flush"
    >
      {said && (
        <p class="problem" role="alert">
          {said}
        </p>
      )}
      {answer !== null && rows.length === 0 && <p class="absent">Nothing is silenced.</p>}
      {rows.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
        <section class="wide" tabIndex={0} aria-label="Table of silences">
          <table class="t nodes">
            <thead>
              <tr>
                <th scope="col" class="tx">
                  What
                </th>
                <th scope="col" class="tx">
                  Who
                </th>
                <th scope="col" class="tx">
                  Comment
                </th>
                <th scope="col" class="tx">
                  Until, {f.zoneName()}
                </th>
                <th scope="col" class="tx">
                  State
                </th>
                <th scope="col" class="tx">
                  <span class="sr">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {rows.map((silence) => (
                <Row key={silence.id} silence={silence} end={() => end(silence)} />
              ))}
            </tbody>
          </table>
        </section>
      )}
    </Panel>
  );
}

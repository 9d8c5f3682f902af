/** Silences in force, to come, and those that ended within a day. */
import { type Signal, useSignal } from "@preact/signals";
import { endSilence, type SilenceDetails, type SilencesAnswer } from "../api/alerts";
import { problemOf } from "../api/ask";
import { Panel } from "../components/Panel";
import { ACTIONS, WideTable } from "../components/WideTable";
import { matcherText } from "../lib/alerts";
import { secondOf } from "../lib/analysis";
import * as f from "../lib/format";
import { useAnswer } from "../panels/useAnswer";
import { ownName } from "../state/name";
import { serverNow } from "../state/page";
import { barred } from "../state/session";

/** Seconds after which they are asked for again. */
const EVERY = 5;

const COLUMNS = [
  ["What", "tx"],
  ["Who", "tx"],
  ["Comment", "tx"],
  [`Until, ${f.zoneName()}`, "tx"],
  ["State", "tx"],
  ACTIONS,
] as const;

/** Where a silence stands, and how long it stays there. */
function standing({ starts, ends }: SilenceDetails): { text: string; over: boolean } {
  const now = serverNow();
  if (secondOf(ends) <= now) return { text: `ended ${f.span(now - secondOf(ends))} ago`, over: true };
  if (secondOf(starts) > now) return { text: `begins in ${f.span(secondOf(starts) - now)}`, over: false };
  return { text: `${f.span(secondOf(ends) - now)} left`, over: false };
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
      <td class="tx">{f.dated(secondOf(silence.ends))}</td>
      <td class="tx">{text}</td>
      <td class="tx acts">
        {!over && silence.id !== null && (
          <button
            type="button"
            class="lk"
            aria-label={`End the silence of ${what}`}
            disabled={barred.value !== undefined}
            title={barred.value}
            onClick={end}
          >
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
        refused.value = problemOf(error);
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
        <button
          type="button"
          class="btn"
          disabled={barred.value !== undefined}
          title={barred.value}
          onClick={add}
        >
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
        <WideTable label="Table of silences" columns={COLUMNS}>
          {rows.map((silence) => (
            <Row key={silence.id} silence={silence} end={() => end(silence)} />
          ))}
        </WideTable>
      )}
    </Panel>
  );
}

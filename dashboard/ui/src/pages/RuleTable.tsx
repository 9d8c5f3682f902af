/** The rules in force, and what is wrong with files that were refused. */
import type { RuleDetails, RulesAnswer } from "../api/alerts";
import { Panel } from "../components/Panel";
import { WideTable } from "../components/WideTable";
import { ruleTitle, written } from "../lib/alerts";
import { secondOf } from "../lib/analysis";
import * as f from "../lib/format";
import { useAnswer } from "../panels/useAnswer";
import { query, setQuery } from "../state/router";

/** Seconds after which they are asked for again: files are read again when they change. */
const EVERY = 15;

const COLUMNS = [
  ["Rule", "tx"],
  ["Of", "tx"],
  ["Expression", "tx"],
  ["Fires", "tx"],
  ["After"],
  ["Open"],
  ["From", "tx"],
] as const;

function Row({ rule }: { rule: RuleDetails }) {
  const levels = rule.levels.map(
    ({ severity, fire }) => `${severity} ${rule.direction} ${written(fire, rule.unit)}`,
  );
  return (
    <tr>
      <th scope="row" title={rule.description}>
        {ruleTitle(rule.name)}
      </th>
      <td class="tx">{rule.scope}</td>
      <td class="tx">
        <code>{rule.expression}</code>
      </td>
      <td class="tx">{levels.join(", ")}</td>
      <td>{rule.forSeconds > 0 ? f.span(rule.forSeconds) : "at once"}</td>
      <td>{f.grouped(rule.open)}</td>
      <td class="tx">{rule.file ?? "default"}</td>
    </tr>
  );
}

/** With `always` they stand open, as limits that are only read here. */
export function RuleTable({ title = "Rules", always = false }: { title?: string; always?: boolean }) {
  const { answer, problem } = useAnswer<RulesAnswer>("rules", "/api/v1/rules", {}, { every: EVERY });
  const shown = always || query.value.has("rules");
  const rules = answer?.rules ?? [];
  return (
    <Panel
      title={title}
      note={rules.length > 0 ? `${f.grouped(rules.length)} watched each second` : ""}
      width={12}
      controls={
        always ? (
          <span class="mute">Read-only: files of rules stand with the aggregators.</span>
        ) : (
          <button
            type="button"
            class="lk"
            aria-expanded={shown}
            onClick={() => setQuery("rules", shown ? null : "shown")}
          >
            {shown ? "Hide" : "Show"}
          </button>
        )
      }
      class="flush"
    >
      {problem !== null && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {answer !== null && answer.mistakes.length > 0 && (
        <div class="problem" role="alert">
          The files of rules are refused
          {answer.refusedSince && ` since ${f.dated(secondOf(answer.refusedSince))}`}; the former rules are in
          force:
          <ul>
            {answer.mistakes.map((mistake) => (
              <li key={mistake}>{mistake}</li>
            ))}
          </ul>
        </div>
      )}
      {shown && rules.length > 0 && (
        <WideTable label="Table of rules" columns={COLUMNS}>
          {rules.map((rule) => (
            <Row key={rule.name} rule={rule} />
          ))}
        </WideTable>
      )}
    </Panel>
  );
}

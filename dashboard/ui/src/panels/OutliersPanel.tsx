/** Odd one out: nodes whose requests are slower than those of all other nodes, and since when. */
import { Panel } from "../components/Panel";
import { WideTable } from "../components/WideTable";
import { lackText } from "../components/words";
import { secondOf } from "../lib/analysis";
import { chance } from "../lib/box";
import { type Held, noted } from "../lib/complete";
import * as f from "../lib/format";
import { nodeHref } from "../state/router";
import { asked, past, pausedAt } from "../state/timeline";
import { useAnswer } from "./useAnswer";

/** Rows that are shown: those that are odd, or as many of the farthest. */
const ROWS = 5;
/** How often it is asked again, seconds. */
const EVERY = 2;
const COLUMNS = [
  ["Node", "tx"],
  ["p99"],
  ["Of its peers"],
  ["All values", "wide-only"],
  ["Beyond", "wide-only"],
  ["By chance", "wide-only"],
  ["Since", "tx"],
] as const;

interface Row {
  node: string;
  values: number | null;
  p99: number | null;
  p99Lower: number | null;
  p99Upper: number | null;
  peersP99: number | null;
  factor: number | null;
  shareBeyond: number | null;
  log10P: number | null;
  odd: boolean;
  usual: boolean;
  since: string | null;
  sinceBefore: boolean;
}

interface Answer {
  text: string;
  to: string;
  nodes: number;
  nodesWithFewValues: number;
  rows: Row[];
  completeness: Held;
}

export function OutliersPanel() {
  const live = past.value === null && pausedAt.value === null;
  const to = live ? undefined : (pausedAt.value ?? asked.value.to);
  const { answer, problem } = useAnswer<Answer>(
    "outliers",
    "/api/v1/outliers",
    { top: ROWS, to },
    { every: live ? EVERY : undefined },
  );
  const few = answer?.nodesWithFewValues ?? 0;
  const note = noted(
    "nodes beside all others, last minute",
    few > 0 ? `${f.plural(few, "node")} with too few requests` : undefined,
    problem !== null && answer !== null ? `not read again: ${problem}` : undefined,
  );
  return (
    <Panel title="Odd one out" note={note} width={12} class="outliers">
      {answer === null ? (
        <p class="absent">{lackText.value ?? problem ?? "Reading."}</p>
      ) : (
        <>
          <p class="outliers-text" aria-live="polite">
            <bdi>{answer.text}</bdi>
          </p>
          {answer.rows.length > 0 && (
            <WideTable label="Nodes, the oddest first" columns={COLUMNS} class="ranked">
              {answer.rows.map((row) => (
                <OutlierRow key={row.node} row={row} to={answer.to} />
              ))}
            </WideTable>
          )}
        </>
      )}
    </Panel>
  );
}

function OutlierRow({ row, to }: { row: Row; to: string }) {
  const micros = (v: number | null) => f.text(f.micros(v ?? undefined));
  return (
    <tr class={row.odd && !row.usual ? "" : "faint"}>
      <th scope="row" class="tx">
        <a href={nodeHref(row.node)}>
          <bdi class="cut">{row.node}</bdi>
        </a>
      </th>
      <td
        title={`With 95 % confidence ${micros(row.p99Lower)} to ${micros(row.p99Upper)}, of ${f.grouped(row.values ?? undefined)} requests`}
      >
        {micros(row.p99)}
      </td>
      <td>{micros(row.peersP99)}</td>
      <td class="wide-only" title="How many times as large as those of its peers, over all quantiles">
        {row.factor === null ? f.NONE : `×${f.significant(row.factor)}`}
      </td>
      <td class="wide-only" title="Share of its requests beyond the p99 of its peers, of which 1 % are">
        {f.text(f.percent(row.shareBeyond ?? undefined))}
      </td>
      <td class="wide-only">{row.odd ? chance(row.log10P) : "likely"}</td>
      <td class="tx">{sinceText(row, to)}</td>
    </tr>
  );
}

function sinceText({ odd, usual, since, sinceBefore }: Row, to: string): string {
  if (!odd || since === null) return "not odd";
  if (usual) return "as before";
  const seconds = secondOf(to) - secondOf(since) + 1;
  return sinceBefore ? `more than ${f.span(seconds)}` : `${f.clock(secondOf(since))}, ${f.span(seconds)}`;
}

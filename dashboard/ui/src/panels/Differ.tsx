/** What a box on the heatmap has more of than the rest: nodes, labels, protocols, services, routes. */
import { WideTable } from "../components/WideTable";
import { type Box, boxParameters, chance, type Differences, type DifferRow } from "../lib/box";
import * as f from "../lib/format";
import { nodeHref, setQuery } from "../state/router";
import { asked, past, pausedAt, zoom } from "../state/timeline";
import { useAnswer } from "./useAnswer";

/** Rows that are shown: the first explain most. */
const ROWS = 10;
const COLUMNS = [
  ["More in the box", "tx"],
  ["Of the box"],
  ["Of the rest"],
  ["Lift"],
  ["By chance", "wide-only"],
] as const;

interface Props {
  metric: string;
  node: string;
  group: string;
  box: Box;
  /** The values of a box in words. */
  values: string;
}

/** Whether a box that reaches the newest second goes along with it. */
export const boxesGoAlong = () => past.value === null && pausedAt.value === null && zoom.value === null;

export function Differ({ metric, node, group, box, values }: Props) {
  const goes = "last" in box.seconds && boxesGoAlong();
  const { answer, problem } = useAnswer<Differences>(
    `${metric} ${node} ${group} ${values}`,
    "/api/v1/differ",
    { metric, node, group, top: ROWS, ...boxParameters(box, asked.value) },
    { every: goes ? 1 : undefined },
  );
  const when =
    "last" in box.seconds
      ? `the last ${f.lengthInWords(box.seconds.last)}`
      : `${f.clock(box.seconds.from)} to ${f.clock(box.seconds.to)}`;
  return (
    <section class="differ" aria-label="What differs in the box">
      <header>
        <h3>What differs</h3>
        <span class="note">
          {when}, {values}
        </span>
        <button type="button" class="btn s" onClick={() => setQuery("box", null)}>
          Clear box
        </button>
      </header>
      <p class="differ-text" aria-live="polite">
        {problem !== null && <>{answer === null ? problem : `Not read again: ${problem}`} </>}
        <bdi>{answer?.text ?? (problem === null ? "Reading." : "")}</bdi>
      </p>
      {answer !== null && answer.rows.length > 0 && <DifferTable answer={answer} />}
    </section>
  );
}

function DifferTable({ answer }: { answer: Differences }) {
  return (
    <WideTable label="More in the box than beside it" columns={COLUMNS} class="ranked">
      {answer.rows.map((row) => (
        <tr
          key={`${row.dimension} ${row.key} ${row.value}`}
          class={row.significant ? "" : "faint"}
          title={row.significant ? undefined : "May be chance"}
        >
          <th scope="row" class="tx">
            <What row={row} />
          </th>
          <td title={`${f.grouped(row.inside ?? undefined)} of ${f.grouped(answer.inside ?? undefined)}`}>
            {share(row.shareInside)}
          </td>
          <td title={`${f.grouped(row.rest ?? undefined)} of ${f.grouped(answer.rest ?? undefined)}`}>
            {share(row.shareRest)}
          </td>
          <td>{row.lift === null ? "only here" : `×${f.significant(row.lift)}`}</td>
          <td
            class="wide-only"
            title={`Corrected for ${answer.tested} that were tested, as if all were independent`}
          >
            {chance(row.log10P)}
          </td>
        </tr>
      ))}
    </WideTable>
  );
}

const share = (v: number | null) => f.text(f.percent(v ?? undefined));

function What({ row: { dimension, key, value } }: { row: DifferRow }) {
  const kind = dimension === "label" || dimension === "attribute" ? key : dimension;
  return (
    <>
      <span class="mute">{kind} </span>
      {dimension === "node" ? (
        <a href={nodeHref(value)}>
          <bdi class="cut" title={value}>
            {value}
          </bdi>
        </a>
      ) : (
        <bdi class="cut" title={value}>
          {value}
        </bdi>
      )}
      {dimension === "route" && (
        <span class="mute">
          {" "}
          of <bdi>{key}</bdi>
        </span>
      )}
    </>
  );
}

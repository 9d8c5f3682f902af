/** The processes of a node one by one: its daemon reads them while this is looked at, and not otherwise. */
import { useSignal } from "@preact/signals";
import { Choice, Panel } from "../components/Panel";
import { WideTable } from "../components/WideTable";
import { secondOf } from "../lib/analysis";
import { noted } from "../lib/complete";
import * as f from "../lib/format";
import * as p from "../lib/processes";
import { past, pausedAt } from "../state/timeline";
import { useAnswer } from "./useAnswer";

/** Rows at first, and after a press all that the daemon names. */
const ROWS = 10;
const BY = [
  ["cpu", "CPU"],
  ["memory", "Memory"],
  ["disk", "Disk"],
] as const;
const COLUMNS = [
  ["Process", "tx"],
  ["CPU"],
  ["Memory"],
  ["Read", "wide-only"],
  ["Written", "wide-only"],
  ["Threads", "wide-only"],
  ["State", "tx wide-only"],
  ["Group", "tx wide-only"],
  ["Age", "wide-only"],
] as const;

const bytesPerSecond = (v: number | null) => (v === null ? f.NONE : f.text(f.byteRate(v)));

export function ProcessesPanel({ node = "" }: { node?: string }) {
  const by = useSignal<p.By>("cpu");
  const all = useSignal(false);
  const live = past.value === null && pausedAt.value === null;
  const { answer, problem } = useAnswer<p.ProcessesAnswer>(
    node,
    `/api/v1/nodes/${encodeURIComponent(node)}/detail`,
    {},
    { every: live ? 1 : undefined },
  );
  const note = noted(
    answer === null ? undefined : `${f.clock(secondOf(answer.time))}; ${p.costText(answer)}`,
    problem !== null && answer !== null ? `not read again: ${problem}` : undefined,
  );
  const rows =
    answer === null ? [] : p.ranked(answer.processes, by.value, all.value ? Number.POSITIVE_INFINITY : ROWS);
  const more = (answer?.processes.length ?? 0) - ROWS;
  return (
    <Panel
      title="Processes now"
      note={note}
      width={12}
      class="processes"
      controls={
        <Choice
          label="Processes by"
          value={by.value}
          options={BY}
          choose={(v) => {
            by.value = v;
          }}
        />
      }
    >
      {answer === null ? (
        <p class="absent">{problem ?? "Reading."}</p>
      ) : (
        <>
          <WideTable label="Processes, the largest first" columns={COLUMNS} class="ranked">
            {rows.map((row) => (
              <Row key={row.pid} row={row} />
            ))}
          </WideTable>
          {more > 0 && (
            <button
              type="button"
              class="btn"
              aria-expanded={all.value}
              onClick={() => {
                all.value = !all.value;
              }}
            >
              {all.value ? "Fewer" : `${more} more`}
            </button>
          )}
        </>
      )}
    </Panel>
  );
}

function Row({ row }: { row: p.Process }) {
  return (
    <tr>
      <th scope="row" class="tx" title={`Process ${row.pid} of user ${row.userId}`}>
        <bdi class="cut">{row.name}</bdi> <span class="says">{row.pid}</span>
      </th>
      <td title="Of one processor">{row.cpuCores === null ? f.NONE : f.text(f.percent(row.cpuCores))}</td>
      <td>{f.text(f.bytes(row.memoryBytes))}</td>
      <td class="wide-only">{bytesPerSecond(row.readBytesPerSecond)}</td>
      <td class="wide-only">{bytesPerSecond(row.writeBytesPerSecond)}</td>
      <td class="wide-only">{f.grouped(row.threads)}</td>
      <td class="tx wide-only">{p.stateText(row.state)}</td>
      <td class="tx wide-only">
        <bdi class="cut" title={row.group}>
          {row.group === "" ? f.NONE : row.group}
        </bdi>
      </td>
      <td class="wide-only">{f.span(Math.round(row.ageSeconds))}</td>
    </tr>
  );
}

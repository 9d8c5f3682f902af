/** Connections by state, local port and node, and the nodes where most are in trouble. Loaded when first asked for. */
import { Dialog } from "../components/Dialog";
import * as f from "../lib/format";
import { nodeHref } from "../state/router";
import { useAnswer } from "./useAnswer";

/** Rows that are shown of a table; the report has all. */
const ROWS_MAX = 10;
/** How often it is read again, seconds. */
const EVERY = 5;
const REPORT = "/api/v1/connections/report";

interface Props {
  /** Undefined for all nodes. */
  node?: string | undefined;
  group?: string | undefined;
  close: () => void;
}

type Count = number | null;

interface Answer {
  timestamp: string;
  states: { state: string; sockets: Count }[];
  ports: { port: string; established: Count; warning: Count; warningRatio: Count }[];
  offenders: {
    node: string;
    warning: Count;
    failedLastMinute: Count;
    connections: Count;
    ratio: Count;
    because: string;
  }[];
  nodes: { node: string; connections: Count }[];
}

const n = (value: Count) => f.grouped(value ?? undefined);
const share = (value: Count) => f.text(f.percent(value ?? undefined));

function Rows({
  title,
  columns,
  rows,
}: {
  title: string;
  columns: readonly string[];
  /** The first cell names the row. */
  rows: readonly (readonly [name: string, cells: readonly string[], href?: string])[];
}) {
  if (rows.length === 0) return null;
  const more = rows.length - ROWS_MAX;
  return (
    <table class="t">
      <thead>
        <tr>
          <th scope="col">
            {more > 0 ? `${title}, the first ${ROWS_MAX} of ${f.grouped(rows.length)}` : title}
          </th>
          {columns.map((column) => (
            <th key={column} scope="col">
              {column}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.slice(0, ROWS_MAX).map(([name, cells, href]) => (
          <tr key={name}>
            <th scope="row">
              <bdi class="cut" title={name}>
                {href ? <a href={href}>{name}</a> : name}
              </bdi>
            </th>
            {columns.map((column, i) => (
              <td key={column}>{cells[i]}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function ConnectionDetails({ node, group, close }: Props) {
  const whose = node ?? group ?? "all nodes";
  const { answer, problem } = useAnswer<Answer>(whose, REPORT, { node, group }, { every: EVERY });
  const href = (format: string) =>
    `${REPORT}?${new URLSearchParams({ ...(node && { node }), ...(group && { group }), format })}`;
  return (
    <Dialog title={`Connections of ${whose}`} close={close}>
      {answer === null ? (
        <p class="small connection-details">{problem ?? "Reading."}</p>
      ) : (
        <>
          {node === undefined && (
            <Rows
              title="Most in trouble"
              columns={["Warning", "Failed/min", "Of its own"]}
              rows={answer.offenders.map((is) => [
                is.node,
                [n(is.warning), n(is.failedLastMinute), share(is.ratio)],
                nodeHref(is.node),
              ])}
            />
          )}
          <Rows
            title="State"
            columns={["Sockets"]}
            rows={answer.states.map((is) => [is.state, [n(is.sockets)]])}
          />
          <Rows
            title="Local port"
            columns={["Established", "Warning", "Share"]}
            rows={answer.ports.map((is) => [
              is.port === "_other" ? "others, and outgoing" : is.port,
              [n(is.established), n(is.warning), share(is.warningRatio)],
            ])}
          />
          {node === undefined && (
            <Rows
              title="Node"
              columns={["Connections"]}
              rows={answer.nodes.map((is) => [is.node, [n(is.connections)], nodeHref(is.node)])}
            />
          )}
          <p class="small">
            At {f.clock(Date.parse(answer.timestamp) / 1000)}
            {problem !== null && `, not read again: ${problem}`}. Ports are those on which hosts listen.
            Failed: refused, reset or timed out; probes of closed ports fail, too.
          </p>
        </>
      )}
      <div class="row">
        <a class="btn" href={href("csv")} download>
          Export CSV
        </a>
        <a class="btn" href={href("json")} download="connections.json">
          Export JSON
        </a>
        <a class="btn" href={href("html")} target="_blank" rel="noreferrer">
          Print
        </a>
        <button type="button" class="btn" onClick={close}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

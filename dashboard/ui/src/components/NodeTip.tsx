/** What is said beside a cell of the host map under the pointer. */
import { Fragment } from "preact";
import { clock, significant } from "../lib/format";
import { labelOf, type NodeRow } from "../lib/nodes";
import { newest } from "../state/page";
import { fillText } from "./fills";
import { StatusMark } from "./Icons";
import { rowMark, stateText } from "./words";

export function NodeTip({
  row,
  by,
  x,
  y,
  width,
  left,
}: {
  row: NodeRow;
  /** Keys of the labels the map is grouped by: a dense map has no room for their values. */
  by: { group: string; part: string };
  x: number;
  y: number;
  width: number;
  left: number;
}) {
  const right = x + 12 + 196 <= width;
  const places = [by.group, by.part].filter((key) => labelOf(row, key) !== "");
  return (
    <div
      class="tip"
      role="tooltip"
      style={{
        transform: `translate(${Math.round(right ? x + 12 : Math.max(0, left - 208))}px, ${Math.round(y - 12)}px)`,
      }}
    >
      <p class="tip-h">
        <StatusMark mark={rowMark(row)} />
        {row.id}
      </p>
      <dl>
        {places.map((key) => (
          <Fragment key={key}>
            <dt>{key}</dt>
            <dd>{labelOf(row, key)}</dd>
          </Fragment>
        ))}
        {row.state !== "reporting" && (
          <>
            <dt>State</dt>
            <dd>{stateText(row)}</dd>
            <dt>Last frame</dt>
            <dd>{clock(newest.peek() - row.silentSeconds)}</dd>
          </>
        )}
        <dt>CPU</dt>
        <dd>{fillText("cpu", row.cpu)}</dd>
        <dt>Memory</dt>
        <dd>{fillText("memory", row.memory)}</dd>
        <dt>p99</dt>
        <dd>{fillText("p99", row.p99)}</dd>
        <dt>Requests</dt>
        <dd>{fillText("requests", row.requests)}</dd>
        <dt>Errors</dt>
        <dd>{fillText("errors", row.errors)}</dd>
        <dt>Load</dt>
        <dd>{significant(row.load)}</dd>
      </dl>
      {row.note !== "" && <p class={row.clash ? "tip-n crit" : "tip-n"}>{row.note}</p>}
      {row.simulated && <p class="tip-n">Simulated: a replay of real samples</p>}
    </div>
  );
}

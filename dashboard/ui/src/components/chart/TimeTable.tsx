/** A chart's values as a table, one row a minute: the same facts without sight of the picture. */
import type { LiveView } from "../../api/view";
import { clock, type Quantity, text } from "../../lib/format";
import { range } from "../../state/timeline";
import type { Series } from "./spec";

interface Props {
  title: string;
  view: Pick<LiveView, "shown" | "version">;
  series: readonly Series[];
  scale: number;
  value: (v: number) => Quantity;
  height: number;
}

export function TimeTable({ title, view, series, scale, value, height }: Props) {
  view.version.value;
  const { from, to } = range.value;
  const seconds: number[] = [];
  for (let t = to; t >= from; t -= 60) seconds.push(t);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
    <section class="scroll" style={{ height: `${height}px` }} tabIndex={0} aria-label={`${title}, table`}>
      <table class="t">
        <caption class="sr">{title}, the value of one second in each minute, newest first</caption>
        <thead>
          <tr>
            <th scope="col">Second</th>
            {series.map((s) => (
              <th scope="col" key={s.column}>
                {s.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {seconds.map((t) => (
            <tr key={t}>
              <td>{clock(t)}</td>
              {series.map((s) => (
                <td key={s.column}>
                  {view.shown.present(t) ? text(value(view.shown.get(s.column, t) * scale)) : "no data"}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

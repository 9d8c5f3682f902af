/** A chart's values as a table, one row a minute: the same facts without sight of the picture. */
import { clockWithin, type Quantity, text } from "../../lib/format";
import { range } from "../../state/timeline";
import type { ChartView, Series } from "./spec";

interface Props {
  title: string;
  view: Pick<ChartView, "shown" | "version">;
  series: readonly Series[];
  scale: number;
  value: (v: number) => Quantity;
  height: number;
}

/** Most rows: nobody reads more. */
const ROWS_MAX = 200;

export function TimeTable({ title, view, series, scale, value, height }: Props) {
  view.version.value;
  const { from, to } = range.value;
  const { step } = view.shown;
  // One row a minute, fewer over a long time.
  const every = Math.max(1, Math.ceil(Math.max(60, (to - from) / ROWS_MAX) / step)) * step;
  const last = Math.floor(to / step) * step;
  const seconds: number[] = [];
  for (let t = last; t >= from; t -= every) seconds.push(t);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
    <section class="scroll" style={{ height: `${height}px` }} tabIndex={0} aria-label={`${title}, table`}>
      <table class="t">
        <caption class="sr">
          {title}, {every === 60 ? "the value of one second in each minute" : "one value in a row"}, newest
          first
        </caption>
        <thead>
          <tr>
            <th scope="col">{step === 1 ? "Second" : "From"}</th>
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
              <td>{clockWithin(t, to - from, step, from)}</td>
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

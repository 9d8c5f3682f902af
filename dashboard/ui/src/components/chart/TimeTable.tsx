/** A chart's values as a table, a row a minute: the same facts without sight of the picture. */
import { CHARTS, type ChartName, type Unit } from "../../gen/catalogue";
import { csv } from "../../lib/csv";
import { clockWithin, type Quantity, text } from "../../lib/format";
import { type InRow, inRow } from "../../lib/minutes";
import { save } from "../../lib/save";
import { range } from "../../state/timeline";
import { type ChartView, isPercentile, type Series } from "./spec";

interface Props {
  title: string;
  view: Pick<ChartView, "shown" | "version">;
  series: readonly Series[];
  scale: number;
  value: (v: number) => Quantity;
  height: number;
}

const UNITS: Readonly<Record<Unit, string>> = {
  number: "",
  rate: " (/s)",
  bytes: " (By)",
  bytesPerSecond: " (By/s)",
  share: " (ratio)",
  micros: " (us)",
};

/** What the values of a column are in, for programs. */
const unitOf = (column: Series["column"]) =>
  column in CHARTS ? UNITS[CHARTS[column as ChartName].unit] : column.startsWith("core.") ? UNITS.share : "";

/** Most rows: nobody reads more. */
const ROWS_MAX = 200;

export function TimeTable({ title, view, series, scale, value, height }: Props) {
  view.version.value;
  const { from, to } = range.value;
  const { step } = view.shown;
  // One row a minute, fewer over a long time.
  const every = Math.max(1, Math.ceil(Math.max(60, (to - from) / ROWS_MAX) / step)) * step;
  const first = Math.ceil(from / every) * every;
  const starts: number[] = [];
  for (let t = Math.floor(to / every) * every; t >= first; t -= every) starts.push(t);
  if (starts.length === 0 || first > from) starts.push(Math.floor(from / step) * step);
  const file = () => {
    const points: number[] = [];
    const last = Math.min(to, view.shown.end);
    for (let t = Math.floor(from / step) * step; t <= last; t += step) points.push(t);
    const columns = series.map((is) => {
      const values: (number | null)[] = [];
      view.shown.window(is.column, points[0] ?? from, points.at(-1) ?? to, values);
      return { head: `${is.label}${unitOf(is.column)}`, values };
    });
    save(`${title.toLowerCase().replace(/\W+/g, "-")}.csv`, "text/csv", csv(points, columns));
  };
  const say = (v: number) => text(value(v * scale));
  const cell = ({ mean, low, high }: InRow) => {
    if (low === null || high === null) return "no data";
    const band = low === high ? "" : `${say(low)} to ${say(high)}`;
    if (mean === null) return band || say(low);
    return (
      <>
        {say(mean)}
        {band !== "" && <small> {band}</small>}
      </>
    );
  };
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
    <section class="scroll" style={{ height: `${height}px` }} tabIndex={0} aria-label={`${title}, table`}>
      <table class="t values">
        <caption>
          {!series.some((is) => is.column.startsWith("explore.")) && (
            <button type="button" class="btn s" onClick={file}>
              CSV of every point
            </button>
          )}
          Each row: mean, and smallest to largest {step === 1 ? "second" : "value"}; of percentiles the latter
          alone. Newest first.
        </caption>
        <thead>
          <tr>
            <th scope="col">From</th>
            {series.map((s) => (
              <th scope="col" key={s.column}>
                {s.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {starts.map((t, i) => {
            // The first row of the window may be shorter.
            const length = (starts[i - 1] ?? Math.floor(to / step) * step + step) - t;
            return (
              <tr key={t}>
                <td>{clockWithin(t, to - from, step, from)}</td>
                {series.map((s) => (
                  <td key={s.column}>{cell(inRow(view.shown, s.column, t, length, isPercentile(s)))}</td>
                ))}
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

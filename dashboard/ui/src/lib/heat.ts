/** A heatmap as it is drawn: which rows, how strong, and what a cell says. Pure. */

/** What `/api/v1/metrics/heatmap/...` answers, as far as it is read. */
export interface HeatAnswer {
  stepSeconds: number;
  /** First second of each column, and how many of its seconds hold data. */
  columns: { tick: number; seconds: number; secondsExpected: number | null }[];
  /** Lowest first. The last one may have no end. */
  rows: { lower: number | null; upper: number | null }[];
  /** By row and column; null where nothing is known. */
  grid: { value: number | null }[][];
}

/** A heatmap without the rows above and below all values. */
export interface Heat {
  step: number;
  columns: HeatAnswer["columns"];
  rows: { lower: number; upper: number | null }[];
  /** By row and column. */
  cells: (number | null)[][];
  /** Largest cell. 0 when there is none. */
  most: number;
}

/** Rows are at least so many: one alone is no picture. */
const ROWS_MIN = 6;

export function readHeat({ stepSeconds, columns, rows, grid }: HeatAnswer): Heat {
  const all = rows.map((row, i) => ({
    lower: row.lower ?? 0,
    upper: row.upper,
    cells: columns.map((_, c) => grid[i]?.[c]?.value ?? null),
  }));
  const used = all.map((row) => row.cells.some((v) => v !== null && v > 0));
  let first = used.indexOf(true);
  let last = used.lastIndexOf(true);
  if (first < 0) [first, last] = [0, all.length - 1];
  while (last - first + 1 < ROWS_MIN && (first > 0 || last < all.length - 1)) {
    if (last < all.length - 1) last++;
    if (last - first + 1 < ROWS_MIN && first > 0) first--;
  }
  const kept = all.slice(first, last + 1);
  return {
    step: stepSeconds,
    columns,
    rows: kept.map(({ lower, upper }) => ({ lower, upper })),
    cells: kept.map((row) => row.cells),
    most: Math.max(0, ...kept.flatMap((row) => row.cells.filter((v): v is number => v !== null))),
  };
}

/** Weakest colour of what is there at all: one value is another thing than none. */
const LEAST = 0.14;

/** How strong a light seems grows with about the cube root of how strong it is: the rare is seen beside the frequent. */
const SEEN = 1 / 3;

/** Place of a cell on the ramp, 0 to 1. */
export function strength(value: number, most: number): number {
  if (value <= 0 || most <= 0) return 0;
  return LEAST + (1 - LEAST) * Math.min(1, value / most) ** SEEN;
}

/** Columns of which nothing is known, as ranges `[start, end)`; those before the first that is known are none. */
export function gapsOf({ columns, cells }: Heat): [number, number][] {
  const known = columns.map((_, c) => cells.some((row) => row[c] !== null));
  const first = known.indexOf(true);
  const out: [number, number][] = [];
  if (first < 0) return out;
  for (let c = first; c < known.length; c++) {
    if (known[c]) continue;
    const open = out.at(-1);
    if (open && open[1] === c) open[1] = c + 1;
    else out.push([c, c + 1]);
  }
  return out;
}

/** The nearest of `n` places. */
export const within = (v: number, n: number) => Math.min(n - 1, Math.max(0, v));

/** Where a key leads from a cell; null when it is none of ours. */
export function moveCell(
  { row, column }: { row: number; column: number },
  key: string,
  { rows, columns }: { rows: number; columns: number },
): { row: number; column: number } | null {
  switch (key) {
    case "ArrowLeft":
      return { row, column: within(column - 1, columns) };
    case "ArrowRight":
      return { row, column: within(column + 1, columns) };
    case "ArrowUp":
      return { row: within(row + 1, rows), column };
    case "ArrowDown":
      return { row: within(row - 1, rows), column };
    case "Home":
      return { row, column: 0 };
    case "End":
      return { row, column: columns - 1 };
    default:
      return null;
  }
}

/** The row that holds the middle of a column's values, and the highest that holds any; null without values. */
export function columnFacts(
  heat: Heat,
  column: number,
): { total: number; middle: number; highest: number } | null {
  const values = heat.cells.map((row) => row[column] ?? 0);
  const total = values.reduce((a, b) => a + b, 0);
  if (total <= 0) return null;
  let below = 0;
  const middle = values.findIndex((v) => {
    below += v;
    return below >= total / 2;
  });
  return { total, middle, highest: values.findLastIndex((v) => v > 0) };
}

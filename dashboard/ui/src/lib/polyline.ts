/** Turns a column into the few points a canvas needs, without losing a spike or bridging a gap. */

/** Index ranges `[start, end)` without null. */
export function runs(values: readonly (number | null)[]): [number, number][] {
  const out: [number, number][] = [];
  let start = -1;
  for (let i = 0; i <= values.length; i++) {
    const there = i < values.length && values[i] !== null && values[i] !== undefined;
    if (there && start < 0) start = i;
    if (!there && start >= 0) {
      out.push([start, i]);
      start = -1;
    }
  }
  return out;
}

type Values = readonly (number | null)[];

/** Points `[x0, y0, x1, y1, ...]` of the run `[start, end)` of values, none of which is null. */
type Draw = (
  values: Values,
  start: number,
  end: number,
  x: (i: number) => number,
  y: (v: number) => number,
) => number[];

/** Calls `each` with the places of the smallest and the largest value of every stretch `[i, end)` of one `column`. */
function byColumn(
  values: Values,
  start: number,
  end: number,
  column: (i: number) => number,
  each: (low: number, high: number, end: number) => void,
): void {
  const value = (i: number) => values[i] as number;
  let i = start;
  while (i < end) {
    const here = Math.floor(column(i));
    let low = i;
    let high = i;
    let j = i;
    while (j < end && Math.floor(column(j)) === here) {
      if (value(j) < value(low)) low = j;
      if (value(j) > value(high)) high = j;
      j++;
    }
    each(low, high, j);
    i = j;
  }
}

/**
 * The line of a chart. When several values share a pixel column only its minimum and maximum
 * are kept, in their order, so a peak of one second survives any zoom.
 */
export const polyline: Draw = (values, start, end, x, y) => {
  const out: number[] = [];
  const put = (i: number) => out.push(x(i), y(values[i] as number));
  if (end - start <= Math.abs(x(end - 1) - x(start)) + 2) {
    for (let i = start; i < end; i++) put(i);
    return out;
  }
  byColumn(values, start, end, x, (low, high) => {
    put(Math.min(low, high));
    if (low !== high) put(Math.max(low, high));
  });
  return out;
};

/** Pixels per point of an envelope. */
const ENVELOPE_STEP = 2;

/** A calmer line for small shapes: the largest value of every two pixels, so peaks stay. */
export const envelope: Draw = (values, start, end, x, y) => {
  const out: number[] = [];
  byColumn(
    values,
    start,
    end,
    (i) => x(i) / ENVELOPE_STEP,
    (_, high, stop) => {
      // The line ends where the data ends, at its last value.
      const k = stop >= end ? end - 1 : high;
      out.push(x(k), y(values[k] as number));
    },
  );
  return out;
};

/**
 * The values of layer `k` of a stack at which it has a line of its own, null elsewhere: where it is above zero, with the
 * seconds before and after. A layer that is zero lies on the one below it and would paint it in its own colour. The
 * lowest layer that has values is always drawn: it lies on the axis, and zero is drawn as zero.
 */
export function withOwnLine(layers: readonly Values[], k: number): (number | null)[] {
  const own = layers[k] ?? [];
  const lowest = layers.findIndex((layer) => layer.some((v) => v !== null && v !== undefined));
  if (k === lowest) return [...own];
  const above = (i: number) => (own[i] ?? 0) > 0;
  return own.map((v, i) => (above(i) || above(i - 1) || above(i + 1) ? v : null));
}

/** Adds columns up: layer k of the result is the sum of layers 0..=k. Null only where every layer is null. */
export function stack(layers: readonly (readonly (number | null)[])[], out: (number | null)[][]): void {
  const n = layers[0]?.length ?? 0;
  out.length = layers.length;
  for (let k = 0; k < layers.length; k++) {
    const row = out[k] ?? [];
    row.length = n;
    out[k] = row;
  }
  for (let i = 0; i < n; i++) {
    let sum = 0;
    let any = false;
    for (const layer of layers) any ||= layer[i] !== null && layer[i] !== undefined;
    for (let k = 0; k < layers.length; k++) {
      sum += layers[k]?.[i] ?? 0;
      (out[k] as (number | null)[])[i] = any ? sum : null;
    }
  }
}

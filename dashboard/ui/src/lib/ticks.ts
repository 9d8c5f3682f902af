/** Round values for axes. */
import { fromClocks, offsetAt } from "./zone";

const STEPS = [1, 2, 2.5, 5, 10] as const;

/**
 * Round values from 0 to at least `max`, about `count` steps. `unit` is what a round value is a round multiple of
 * (1024 ** 3 for memory), 1 for plain numbers.
 */
export function niceTicks(max: number, count = 4, unit = 1): number[] {
  const top = Number.isFinite(max) && max > 0 ? max / unit : 1;
  const raw = top / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = (STEPS.find((s) => s * power >= raw * 0.999) ?? 10) * power;
  const ticks: number[] = [];
  for (let i = 0; i <= 20; i++) {
    const v = Number((i * step).toPrecision(9));
    ticks.push(v * unit);
    if (v >= top * 0.9999) break;
  }
  return ticks;
}

/** The same on both sides of 0, from at most `min`, which is below it, to at least `max`. */
export function ticksAround(min: number, max: number, count: number, unit: number): number[] {
  const [, step = 1] = niceTicks(Math.max(max, -min), count, unit);
  const ticks: number[] = [];
  for (let i = Math.floor(min / step); i <= Math.ceil(Math.max(0, max) / step); i++)
    ticks.push(Number((i * step).toPrecision(9)));
  return ticks;
}

const TIME_STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800,
  259_200, 604_800,
] as const;

/** Round seconds in `from..=to` for at most `labels` labels, aligned to the clocks of the zone. */
export function timeTicks(from: number, to: number, labels: number): number[] {
  const step = TIME_STEPS.find((s) => (to - from) / s <= Math.max(1, labels)) ?? 2_592_000;
  const ticks: number[] = [];
  // Steps divide a day or are days, so that the day begins at a label.
  const offset = offsetAt(from);
  const first = Math.ceil((from + offset) / step) * step;
  if (step <= 1_800) {
    for (let t = first - offset; t <= to; t += step) ticks.push(t);
    return ticks;
  }
  // By the clocks, which may change on the way.
  for (let wall = first; ; wall += step) {
    const t = fromClocks(wall);
    if (t > to) return ticks;
    if (t >= from && t > (ticks.at(-1) ?? 0)) ticks.push(t);
  }
}

/** Columns of the past in steps, as the server answers them. */
import { type Extremes, pointAt, type Shown } from "./shown";

/** JSON has no NaN. */
type Values = readonly (number | null)[];

/** A column of an answer. */
export interface SteppedColumn {
  name: string;
  values: Values;
  /** Null where a point is a second, and of percentiles. */
  min: Values | null;
  max: Values | null;
}

export class Stepped implements Shown {
  readonly live = false;
  readonly newest: number;
  readonly end: number;
  private readonly columns: ReadonlyMap<string, SteppedColumn>;

  constructor(
    /** Start of the first point. */
    readonly from: number,
    readonly step: number,
    /** Seconds with data, by point. */
    private readonly seconds: readonly number[],
    columns: readonly SteppedColumn[],
  ) {
    this.columns = new Map(columns.map((c) => [c.name, c]));
    this.end = from + seconds.length * step - 1;
    const last = seconds.findLastIndex((n) => n > 0);
    this.newest = last < 0 ? 0 : from + last * step;
  }

  first(): number {
    const first = this.seconds.findIndex((n) => n > 0);
    return first < 0 ? 0 : this.from + first * this.step;
  }

  present(tick: number): boolean {
    return (this.seconds[pointAt(tick, this.from, this.step)] ?? 0) > 0;
  }

  get(name: string, tick: number): number {
    return this.columns.get(name)?.values[pointAt(tick, this.from, this.step)] ?? Number.NaN;
  }

  window(name: string, from: number, to: number, out: (number | null)[]): boolean {
    return this.copy(this.columns.get(name)?.values, from, to, out);
  }

  extremes(name: string, from: number, to: number): Extremes | null {
    const column = this.columns.get(name);
    if (!column?.min || !column.max) return null;
    const both: Extremes = { low: [], high: [] };
    this.copy(column.min, from, to, both.low);
    this.copy(column.max, from, to, both.high);
    return both;
  }

  private copy(values: Values | undefined, from: number, to: number, out: (number | null)[]): boolean {
    const start = pointAt(from, this.from, this.step);
    out.length = pointAt(to, from, this.step) + 1;
    let any = false;
    for (let i = 0; i < out.length; i++) {
      const v = values?.[start + i] ?? null;
      out[i] = v;
      any ||= v !== null;
    }
    return any;
  }
}

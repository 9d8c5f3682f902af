/** Columns of one view over the last seconds, in typed arrays that never grow with time. */
import type { Shown } from "./shown";

/** Seconds kept: the 900 the server sends and some more, so that late corrections find their place. */
export const RING_SECONDS = 1024;

/** Columns accepted from a server: 17 charted series and the cores of a large machine. */
export const COLUMNS_MAX = 2048;

/** A column as it arrives. */
export interface IncomingColumn {
  name: string;
  values: readonly number[];
}

/**
 * One ring per column, indexed by second. A slot remembers which second it holds, so skipped seconds read as
 * missing without being cleared.
 */
export class Rings implements Shown {
  readonly step = 1;
  readonly live = true;
  readonly end = Number.POSITIVE_INFINITY;
  /** Newest second held. 0 when empty. */
  newest = 0;
  private readonly names: string[] = [];
  private readonly index = new Map<string, number>();
  private readonly columns: Float32Array[] = [];
  private readonly seconds: Uint32Array;
  private readonly filled: Uint8Array;

  constructor(readonly capacity = RING_SECONDS) {
    this.seconds = new Uint32Array(capacity);
    this.filled = new Uint8Array(capacity);
  }

  /** Names in the order of the wire. */
  columnNames(): readonly string[] {
    return this.names;
  }

  /** True when the server has ever sent this column. */
  has(name: string): boolean {
    return this.index.has(name);
  }

  /** Forgets everything and takes a snapshot's history, whose newest second is `tick`. */
  load(firstTick: number, columns: readonly IncomingColumn[], tick: number): void {
    this.names.length = 0;
    this.columns.length = 0;
    this.index.clear();
    this.seconds.fill(0);
    this.filled.fill(0);
    this.newest = tick;
    for (const c of columns) this.add(c.name);
    const length = Math.max(0, ...columns.map((c) => c.values.length));
    for (let i = Math.max(0, length - this.capacity); i < length; i++) {
      const second = firstTick + i;
      const slot = second % this.capacity;
      let any = 0;
      for (let c = 0; c < this.columns.length; c++) {
        const v = columns[c]?.values[i] ?? Number.NaN;
        (this.columns[c] as Float32Array)[slot] = v;
        if (!Number.isNaN(v)) any = 1;
      }
      this.seconds[slot] = second;
      this.filled[slot] = any;
      if (second > this.newest) this.newest = second;
    }
  }

  /** Takes one second: values in the order of the known columns followed by `newColumns`. Also corrects an old one. */
  push(tick: number, point: readonly number[], newColumns: readonly string[]): void {
    for (const name of newColumns) this.add(name);
    if (tick + this.capacity <= this.newest) return;
    const slot = tick % this.capacity;
    let any = 0;
    for (let c = 0; c < this.columns.length; c++) {
      const v = point[c] ?? Number.NaN;
      (this.columns[c] as Float32Array)[slot] = v;
      if (!Number.isNaN(v)) any = 1;
    }
    this.seconds[slot] = tick;
    this.filled[slot] = any;
    if (tick > this.newest) this.newest = tick;
  }

  /** Value of a column at a second; NaN when missing. */
  get(name: string, tick: number): number {
    const c = this.index.get(name);
    if (c === undefined || !this.holds(tick)) return Number.NaN;
    return (this.columns[c] as Float32Array)[tick % this.capacity] as number;
  }

  /** True when the second arrived and any column has a value in it. */
  present(tick: number): boolean {
    return this.holds(tick) && this.filled[tick % this.capacity] === 1;
  }

  /** First second with data at or after `from`; 0 when there is none. */
  firstPresent(from: number): number {
    for (let t = Math.max(from, this.newest - this.capacity + 1, 1); t <= this.newest; t++) {
      if (this.present(t)) return t;
    }
    return 0;
  }

  first(): number {
    return this.firstPresent(this.newest - this.capacity + 1);
  }

  /** A point is a second. */
  extremes(): null {
    return null;
  }

  /** Copies `from..=to` of a column into `out`, null where missing. Returns false when nothing is there. */
  window(name: string, from: number, to: number, out: (number | null)[]): boolean {
    out.length = to - from + 1;
    let any = false;
    for (let t = from; t <= to; t++) {
      const v = this.get(name, t);
      const there = !Number.isNaN(v);
      out[t - from] = there ? v : null;
      any ||= there;
    }
    return any;
  }

  /** Mean over the `seconds` up to and including `tick`; NaN when all are missing. */
  mean(name: string, tick: number, seconds: number): number {
    let sum = 0;
    let n = 0;
    for (let t = tick - seconds + 1; t <= tick; t++) {
      const v = this.get(name, t);
      if (!Number.isNaN(v)) {
        sum += v;
        n++;
      }
    }
    return n === 0 ? Number.NaN : sum / n;
  }

  /** Largest value in `from..=to`; NaN when all are missing. */
  peak(name: string, from: number, to: number): number {
    let best = Number.NaN;
    for (let t = from; t <= to; t++) {
      const v = this.get(name, t);
      if (!Number.isNaN(v) && !(v <= best)) best = v;
    }
    return best;
  }

  /** An independent copy, for a paused view. */
  copy(): Rings {
    const other = new Rings(this.capacity);
    other.newest = this.newest;
    for (const name of this.names) other.add(name);
    this.columns.forEach((c, i) => {
      (other.columns[i] as Float32Array).set(c);
    });
    other.seconds.set(this.seconds);
    other.filled.set(this.filled);
    return other;
  }

  private holds(tick: number): boolean {
    return tick > 0 && this.seconds[tick % this.capacity] === tick;
  }

  private add(name: string): void {
    if (this.names.length >= COLUMNS_MAX) return;
    // A repeated name still takes a place, because values come by position.
    if (!this.index.has(name)) this.index.set(name, this.names.length);
    this.names.push(name);
    this.columns.push(new Float32Array(this.capacity).fill(Number.NaN));
  }
}

/** One subscribed view: its rings, its newest state, and what the page shows of it. */
import { batch, signal } from "@preact/signals";
import type { Snapshot, State, Tick, View } from "../gen/starling/live/v1/live_pb";
import { Rings } from "../lib/rings";

/** loading: nothing arrived. empty: the server has no data yet. ready: data is shown. failed: the server refused. */
export type ViewStatus = "loading" | "empty" | "ready" | "failed";

/** Why the server refused. */
export interface ViewError {
  code: string;
  message: string;
}

/** Reads a view's own state out of the message; null asks for a fresh snapshot. */
export type ReadState<S> = (state: State, previous: S | null) => S | null;

export class LiveView<S = unknown> {
  readonly status = signal<ViewStatus>("loading");
  readonly error = signal<ViewError | null>(null);
  /** State of the shown second. Null before data. */
  readonly state = signal<S | null>(null);
  /** Rises whenever the shown columns change. */
  readonly version = signal(0);
  /** Pages that use the view. */
  users = 0;

  private readonly rings = new Rings();
  private latest: S | null = null;
  private frozen: Rings | null = null;
  private holding = false;

  constructor(
    /** Subscription id on the wire. */
    readonly id: number,
    readonly kind: View,
    readonly nodeId: string,
    /** Of nodes with this label alone, such as "zone:a". */
    readonly group: string,
    private readonly read: ReadState<S>,
  ) {}

  /** Columns as shown: those of the moment of the pause, or the live ones. */
  get shown(): Rings {
    return this.frozen ?? this.rings;
  }

  /** Newest second that arrived, shown or not. 0 when none. */
  get newest(): number {
    return this.rings.newest;
  }

  /** Replaces everything. Returns false when the state cannot be read. */
  takeSnapshot(s: Snapshot): boolean {
    const state = s.state ? this.read(s.state, null) : null;
    this.rings.load(s.history?.firstTick ?? 0, s.history?.columns ?? [], s.tick);
    this.latest = state;
    batch(() => {
      this.error.value = null;
      this.status.value = s.tick === 0 ? "empty" : "ready";
      // A view that opens while the page is paused shows its first state and then holds it.
      this.frozen = null;
      this.publish();
      if (this.holding) this.frozen = this.rings.copy();
    });
    return s.state === undefined || state !== null;
  }

  /** Adds or corrects a second. Returns false when the state cannot be read without a snapshot. */
  takeTick(t: Tick): boolean {
    const newer = t.tick >= this.rings.newest;
    this.rings.push(t.tick, t.point, t.newColumns);
    if (t.state && newer) {
      const state = this.read(t.state, this.latest);
      if (state === null) return false;
      this.latest = state;
    }
    if (this.status.peek() !== "ready" || this.frozen === null) {
      batch(() => {
        this.error.value = null;
        this.status.value = "ready";
        if (this.frozen === null) this.publish();
      });
    }
    return true;
  }

  /** The server refused. */
  fail(error: ViewError): void {
    batch(() => {
      this.error.value = error;
      if (this.status.peek() !== "ready") this.status.value = "failed";
    });
  }

  /** Holds what is shown while data goes on arriving, or shows the newest again. */
  hold(on: boolean): void {
    this.holding = on;
    if (on) {
      this.frozen ??= this.rings.copy();
    } else if (this.frozen !== null) {
      this.frozen = null;
      batch(() => this.publish());
    }
  }

  private publish(): void {
    this.state.value = this.latest;
    this.version.value++;
  }
}

/** Columns of the past, asked of the server for the window that the page shows. */
import { signal } from "@preact/signals";
import type { Held } from "../lib/complete";
import type { Window } from "../lib/period";
import { Stepped, type SteppedColumn } from "../lib/stepped";
import { ask, problemOf } from "./ask";
import type { ViewStatus } from "./view";

/** What `/api/v1/metrics/charts` answers, as far as it is read. */
interface Answer {
  stepSeconds: number;
  points: { tick: number[]; seconds: number[] };
  columns: SteppedColumn[];
  completeness: Held;
}

export class PastView {
  readonly status = signal<ViewStatus>("loading");
  readonly version = signal(0);
  /** Why what is shown is not what was asked for; null when it is. */
  readonly problem = signal<string | null>(null);
  readonly completeness = signal<Held | null>(null);
  shown = new Stepped(0, 1, [], []);
  private last: AbortController | null = null;

  constructor(
    private readonly whose: { node: string; group: string },
    private readonly columns: readonly string[],
  ) {}

  /** Reads a window. One that is on its way is given up for it. */
  async read({ from, to, step }: Window): Promise<void> {
    this.stop();
    const mine = new AbortController();
    this.last = mine;
    const query = { columns: this.columns.join(","), from, to, step, ...this.whose };
    try {
      const answer = await ask<Answer>("/api/v1/metrics/charts", query, mine.signal);
      if (mine.signal.aborted) return;
      const { points, columns, stepSeconds, completeness } = answer;
      this.shown = new Stepped(points.tick[0] ?? from, stepSeconds, points.seconds, columns);
      this.completeness.value = completeness;
      this.problem.value = null;
      this.status.value = "ready";
    } catch (error) {
      if (mine.signal.aborted) return;
      this.problem.value = problemOf(error);
      if (this.status.peek() !== "ready") this.status.value = "failed";
    }
    this.version.value++;
  }

  stop(): void {
    this.last?.abort();
  }
}

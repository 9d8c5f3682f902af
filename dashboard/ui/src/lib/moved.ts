/** How figures moved against five minutes ago. */
import { change, type points } from "./format";
import type { Rings } from "./rings";

/** What a figure is compared with. */
const BEFORE_SECONDS = 300;
/** A rate or a share is compared as a mean over this many seconds, on both sides. */
const MEAN_SECONDS = 10;

type Reads = Pick<Rings, "get" | "mean" | "newest">;

/** Change of a rate, a count or (by `points`) a share. */
export function moved(rings: Reads, column: string, how: typeof change | typeof points): string | null {
  const now = rings.mean(column, rings.newest, MEAN_SECONDS);
  return how(now, rings.mean(column, rings.newest - BEFORE_SECONDS, MEAN_SECONDS));
}

/**
 * Change of a percentile of merged seconds: what is shown against what was shown then. A mean of percentiles is none, so
 * nothing is averaged; without a value of just that second nothing is compared.
 */
export function movedPercentile(rings: Reads, column: string): string | null {
  return change(rings.get(column, rings.newest), rings.get(column, rings.newest - BEFORE_SECONDS));
}

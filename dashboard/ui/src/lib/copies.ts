/** How far an aggregator is with the copies of the history of nodes that it is to keep. */
import type { HistoryCopies } from "../gen/starling/v1/cluster_pb";
import * as f from "./format";

type Copies = Pick<HistoryCopies, "restoring" | "spansDone" | "spans" | "wholeTick">;

/** In words; a dash when it did not say. `alone`: there is no other aggregator that could have a copy. */
export function copiesText(copies: Copies | undefined, alone: boolean): string {
  if (!copies) return f.NONE;
  if (alone) return "none: the only aggregator";
  const { restoring, spansDone = 0n, spans = 0n, wholeTick } = copies;
  if (restoring) {
    return `being restored, ${f.wholePercent(spans > 0n ? Number(spansDone) / Number(spans) : undefined)}`;
  }
  return wholeTick > 0 ? "whole" : "being looked through";
}

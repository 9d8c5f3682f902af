/** How far an aggregator is with the copies of the history of nodes that it is to keep. */
import type { HistoryCopies } from "../gen/starling/v1/cluster_pb";
import * as f from "./format";

type Copies = Pick<HistoryCopies, "restoring" | "spansDone" | "spans" | "wholeTick">;

/** As one fact: being restored and how far, whole and since when that is known, or not looked through yet. */
export function copiesText({ restoring, spansDone, spans, wholeTick }: Copies): string {
  if (restoring) {
    return `being restored, ${f.wholePercent(spans > 0n ? Number(spansDone) / Number(spans) : undefined)}`;
  }
  return wholeTick > 0 ? `whole, as of ${f.dated(wholeTick)}` : "not looked through yet";
}

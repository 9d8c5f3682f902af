/** What a daemon cannot read of its host, in words. */
import { type CollectorFault, CollectorTrouble } from "../gen/starling/v1/cluster_pb";
import { clock } from "./format";

const TROUBLES: Record<CollectorTrouble, string> = {
  [CollectorTrouble.UNSPECIFIED]: "is not read as it should be",
  [CollectorTrouble.FAILED]: "cannot be read",
  [CollectorTrouble.HANGING]: "hangs: a read does not return",
  [CollectorTrouble.PARTIAL]: "is read in part",
};

/** One collector's fault, as a sentence. */
export function faultText({
  collector,
  trouble,
  reason,
  sinceUnixS,
}: Pick<CollectorFault, "collector" | "trouble" | "reason" | "sinceUnixS">): string {
  const since = sinceUnixS > 0 ? ` since ${clock(sinceUnixS)}` : "";
  const why = reason === "" ? "" : `: ${reason}`;
  return `${collector} ${TROUBLES[trouble] ?? TROUBLES[CollectorTrouble.UNSPECIFIED]}${since}${why}`;
}

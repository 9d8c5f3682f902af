/** How many of the nodes are behind a part of a second. */
import type { Completeness, SectionNodes } from "../gen/starling/v1/cluster_pb";
import { grouped, known, plural } from "./format";

/** Parts that every node reports; requests and latency only those have that serve them. */
export type Section = Exclude<keyof SectionNodes, "traffic" | "latency" | "$typeName" | "$unknown">;

type Known = Pick<Completeness, "nodesReporting" | "nodesExpected"> & {
  sections?: Partial<SectionNodes> | undefined;
};

/** "2 of 3 nodes" when some that are expected are not behind it; undefined when all are. */
export function nodesBehind(complete: Known | undefined, section?: Section): string | undefined {
  const expected = complete?.nodesExpected;
  const there = (section && complete?.sections?.[section]) ?? complete?.nodesReporting;
  if (!known(expected) || !known(there) || there >= expected) return undefined;
  return `${grouped(there)} of ${plural(expected, "node")}`;
}

/** What of its range an answer over time holds. */
export interface Held {
  nodesReporting: number | null;
  nodesExpected: number | null;
  seconds: number;
  secondsExpected: number;
  firstData: string | null;
  missing: { aggregatorId: string | null; reason: string }[];
}

/** Parts of a note with commas between. */
export function noted(...parts: readonly (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== "").join(", ");
}

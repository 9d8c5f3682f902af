/** The fleet: columns of live.proto turned into rows. */
import type { HostNote, Hosts } from "../gen/starling/live/v1/live_pb";
import { NodeState } from "../gen/starling/v1/cluster_pb";
import type { NodeRow } from "../lib/nodes";

/** All nodes of one second. */
export interface Fleet {
  rows: NodeRow[];
  /** Keys of the labels that nodes carry, sorted; without Starling's own. */
  labels: readonly string[];
  /** Keys of labels that the server left out, because there are too many. */
  labelsLeftOut: number;
  dictionaryVersion: number;
  /** Names the rows when they are a part of all. */
  part?: string;
  /** Nodes whose daemon reported within the last seconds. */
  reporting: number;
  silent: number;
  stopped: number;
}

/** Labels that Starling gives itself begin so. */
const OWN_LABELS = "starling.";

/** The states of the wire by name. */
export const STATES: Record<NodeState, NodeRow["state"]> = {
  [NodeState.UNSPECIFIED]: "unknown",
  [NodeState.REPORTING]: "reporting",
  [NodeState.SILENT]: "silent",
  [NodeState.STOPPED]: "stopped",
};

/** What is said of a node, the gravest first. */
function said(note: HostNote | undefined): string {
  return note?.clash || note?.silentReason || note?.faults || "";
}

/**
 * Reads the columns. Names and labels are sent only when they change, so they are taken from `previous` when absent;
 * null when they are needed and not known, which asks for a snapshot.
 */
export function readFleet(hosts: Hosts, previous: Fleet | null): Fleet | null {
  const size = hosts.states.length;
  const sent = hosts.nodeIds.length > 0 || size === 0;
  if (!sent && (previous?.dictionaryVersion !== hosts.dictionaryVersion || previous.rows.length !== size)) {
    return null;
  }
  const number = (column: readonly number[], i: number) => column[i] ?? Number.NaN;
  const columns = hosts.labels.filter((column) => !column.key.startsWith(OWN_LABELS));
  const labelsOf = (i: number) => {
    const labels: Record<string, string> = {};
    for (const { key, values, places } of columns) {
      const value = values[(places[i] ?? 0) - 1];
      if (value !== undefined) labels[key] = value;
    }
    return labels;
  };
  const fleet: Fleet = {
    rows: [],
    labels: sent ? columns.map((column) => column.key) : (previous?.labels ?? []),
    labelsLeftOut: sent ? hosts.labelsLeftOut : (previous?.labelsLeftOut ?? 0),
    dictionaryVersion: hosts.dictionaryVersion,
    reporting: 0,
    silent: 0,
    stopped: 0,
  };
  const notes = new Map(hosts.notes.map((note) => [note.place, note]));
  for (let i = 0; i < size; i++) {
    const old = sent ? undefined : previous?.rows[i];
    const state = STATES[hosts.states[i] ?? NodeState.UNSPECIFIED] ?? "unknown";
    if (state === "reporting") fleet.reporting++;
    if (state === "silent") fleet.silent++;
    if (state === "stopped") fleet.stopped++;
    fleet.rows.push({
      id: old?.id ?? hosts.nodeIds[i] ?? "",
      labels: old?.labels ?? labelsOf(i),
      simulated: old?.simulated ?? hosts.simulated[i] ?? false,
      state,
      silentSeconds: hosts.silentSeconds[i] ?? 0,
      note: said(notes.get(i)),
      clash: (notes.get(i)?.clash ?? "") !== "",
      cpu: number(hosts.cpu, i),
      memory: number(hosts.memory, i),
      requests: number(hosts.requestsPerSecond, i),
      errors: number(hosts.errorsPerSecond, i),
      p99: number(hosts.p99Micros, i),
      load: number(hosts.load1, i),
      connections: number(hosts.connections, i),
      cores: hosts.cores[i] ?? old?.cores ?? Number.NaN,
      aggregator: hosts.aggregators[(hosts.aggregatorOf[i] ?? 0) - 1] ?? "",
    });
  }
  return fleet;
}

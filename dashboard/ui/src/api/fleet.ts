/** The fleet: columns of live.proto turned into rows. */
import type { Hosts } from "../gen/starling/live/v1/live_pb";
import { NodeState } from "../gen/starling/v1/sections_pb";
import type { NodeRow } from "../lib/nodes";

/** All nodes of one second. */
export interface Fleet {
  rows: NodeRow[];
  dictionaryVersion: number;
  /** Nodes whose daemon reported within the last seconds. */
  reporting: number;
  silent: number;
  stopped: number;
}

/** The states of the wire by name. */
export const STATES: Record<NodeState, NodeRow["state"]> = {
  [NodeState.UNSPECIFIED]: "unknown",
  [NodeState.REPORTING]: "reporting",
  [NodeState.SILENT]: "silent",
  [NodeState.STOPPED]: "stopped",
};

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
  const fleet: Fleet = {
    rows: [],
    dictionaryVersion: hosts.dictionaryVersion,
    reporting: 0,
    silent: 0,
    stopped: 0,
  };
  for (let i = 0; i < size; i++) {
    const old = sent ? undefined : previous?.rows[i];
    const state = STATES[hosts.states[i] ?? NodeState.UNSPECIFIED] ?? "unknown";
    if (state === "reporting") fleet.reporting++;
    if (state === "silent") fleet.silent++;
    if (state === "stopped") fleet.stopped++;
    fleet.rows.push({
      id: old?.id ?? hosts.nodeIds[i] ?? "",
      zone: old?.zone ?? hosts.zones[i] ?? "",
      rack: old?.rack ?? hosts.racks[i] ?? "",
      role: old?.role ?? hosts.roles[i] ?? "",
      simulated: old?.simulated ?? hosts.simulated[i] ?? false,
      state,
      silentSeconds: hosts.silentSeconds[i] ?? 0,
      cpu: number(hosts.cpu, i),
      memory: number(hosts.memory, i),
      requests: number(hosts.requestsPerSecond, i),
      errors: number(hosts.errorsPerSecond, i),
      p99: number(hosts.p99Micros, i),
      load: number(hosts.load1, i),
      connections: number(hosts.connections, i),
      cores: hosts.cores[i] ?? old?.cores ?? Number.NaN,
      aggregator: hosts.aggregatorIds[i] ?? old?.aggregator ?? "",
    });
  }
  return fleet;
}

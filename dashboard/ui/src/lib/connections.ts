/** The sockets of a host or of all hosts, as a file that a spreadsheet reads. */

import { field } from "./csv";
import { known } from "./format";

export interface Report {
  /** RFC 3339. */
  time: string;
  /** Whose sockets: a node, or all. */
  of: string;
  states: readonly (readonly [state: string, sockets: number])[];
  nodes: readonly (readonly [node: string, sockets: number | undefined])[];
}

/** Lines of part, name and number of sockets; empty where the number is not known. */
export function reportCsv({ time, of, states, nodes }: Report): string {
  const lines = [["time", "of", "part", "name", "sockets"]];
  for (const [state, n] of states) lines.push([time, of, "state", state, String(n)]);
  for (const [node, n] of nodes) lines.push([time, of, "node", node, known(n) ? String(n) : ""]);
  return `${lines.map((line) => line.map(field).join(",")).join("\r\n")}\r\n`;
}

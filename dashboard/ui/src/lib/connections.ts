/** The sockets of a host or of all hosts, as a file that a spreadsheet reads. */

import { known } from "./format";

export interface Report {
  /** RFC 3339. */
  time: string;
  /** Whose sockets: a node, or all. */
  of: string;
  states: readonly (readonly [state: string, sockets: number])[];
  nodes: readonly (readonly [node: string, sockets: number | undefined])[];
}

/** A field of a CSV: quoted where a separator asks for it; what a spreadsheet would take for a formula begins with an apostrophe. */
function field(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Lines of part, name and number of sockets; empty where the number is not known. */
export function reportCsv({ time, of, states, nodes }: Report): string {
  const lines = [["time", "of", "part", "name", "sockets"]];
  for (const [state, n] of states) lines.push([time, of, "state", state, String(n)]);
  for (const [node, n] of nodes) lines.push([time, of, "node", node, known(n) ? String(n) : ""]);
  return `${lines.map((line) => line.map(field).join(",")).join("\r\n")}\r\n`;
}

/** Groups of nodes: all that carry a label, such as "zone:a". Pure. */
import type { NodeRow } from "./nodes";

/** Most groups that are offered; any other may stand in the address. */
const OFFERED_MAX = 1_000;

/** The groups there are, by name. */
export function groupsOf(rows: readonly Pick<NodeRow, "labels">[]): string[] {
  const all = new Set<string>();
  for (const row of rows) for (const [key, v] of Object.entries(row.labels)) all.add(`${key}:${v}`);
  return [...all].sort((a, b) => a.localeCompare(b, "en", { numeric: true })).slice(0, OFFERED_MAX);
}

/** The label of a group. */
export function keyAndValue(group: string): [key: string, value: string] {
  const at = group.indexOf(":");
  return [group.slice(0, at), group.slice(at + 1)];
}

/** Whether a node is in a group; every one is in "". A key holds no colon. */
export function isIn(row: Pick<NodeRow, "labels">, group: string): boolean {
  const [key, value] = keyAndValue(group);
  return group === "" || (Object.hasOwn(row.labels, key) && row.labels[key] === value);
}

/** The group that an address asks for: "zone:a", and "zone=a" as one may type it. */
export function groupAsked(text: string | null): string {
  return (text ?? "").trim().replace(/^([^:=]+)=/, "$1:");
}

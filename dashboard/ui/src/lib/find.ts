/** What the field of the top bar finds: pages, nodes and series. Pure. */
import { type Listed, matching } from "./listed";
import { type NodeRow, parseFilter } from "./nodes";

/** What is offered of each sort at once. */
const EACH_MAX = 6;

export interface Found {
  key: string;
  href: string;
  label: string;
  detail?: string;
  group: string;
}

interface Known {
  pages: readonly { href: string; label: string }[];
  rows: readonly NodeRow[];
  names: readonly Listed[];
}

/** The matches of a text, and how many nodes there are in all. */
export function find(text: string, { pages, rows, names }: Known): { found: Found[]; nodes: number } {
  const wanted = text.trim();
  if (wanted === "") return { found: [], nodes: 0 };
  const lower = wanted.toLowerCase();
  const match = parseFilter(wanted);
  const nodes = rows.filter(match);
  const begins = (row: NodeRow) => (row.id.toLowerCase().startsWith(lower) ? 0 : 1);
  const byName = (a: NodeRow, b: NodeRow) =>
    begins(a) - begins(b) || a.id.localeCompare(b.id, "en", { numeric: true });
  return {
    nodes: nodes.length,
    found: [
      ...pages
        .filter(({ label }) => label.toLowerCase().includes(lower))
        .map(({ href, label }) => ({ key: href, href, label, group: "Pages" })),
      ...nodes
        .toSorted(byName)
        .slice(0, EACH_MAX)
        .map((row) => ({
          key: `node ${row.id}`,
          href: `/nodes/${encodeURIComponent(row.id)}`,
          label: row.id,
          detail: row.state === "reporting" ? (row.labels.zone ?? "") : row.state,
          group: "Nodes",
        })),
      ...matching(names, wanted)
        .slice(0, EACH_MAX)
        .map((is) => ({
          key: `series ${is.name}`,
          href: `/explore?${new URLSearchParams({ s: is.name })}`,
          label: is.name,
          detail: is.unit === "1" ? "" : is.unit,
          group: "Series",
        })),
    ],
  };
}

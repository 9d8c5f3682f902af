/** Where each node stands in the host map: by group, then part, then name. Pure geometry, drawn elsewhere. */

/** What the layout needs to know of a node. */
export interface Place {
  /** Such as its zone; empty for none. */
  group: string;
  /** Within the group, such as its rack; empty for none. */
  part: string;
}

/** A rectangle with the index of its node. */
export interface Cell {
  index: number;
  x: number;
  y: number;
  w: number;
  h: number;
}

/** A caption, drawn with its baseline at `y`. */
export interface Label {
  text: string;
  x: number;
  y: number;
}

/** A group and the nodes in it. */
export interface Group {
  name: string;
  /** Where its name goes. */
  x: number;
  y: number;
  members: number[];
}

export interface Layout {
  height: number;
  cells: Cell[];
  parts: Label[];
  groups: Group[];
  /** Cells are wide enough for a name and a value. */
  tiles: boolean;
}

/** Up to this many nodes are drawn as tiles with their names. */
export const TILES_MAX = 36;

const GROUP_COLUMN = 74;
const PART_LABEL = 16;
const GAP_PART = 16;
const GAP_ROW = 9;
const NARROW = 520;

function grouped<K>(indexes: readonly number[], key: (i: number) => K): Map<K, number[]> {
  const groups = new Map<K, number[]>();
  for (const i of indexes) {
    const k = key(i);
    const list = groups.get(k);
    if (list) list.push(i);
    else groups.set(k, [i]);
  }
  return groups;
}

function byName(a: string, b: string): number {
  // Nodes without one come last.
  if (a === "" || b === "") return a === b ? 0 : a === "" ? 1 : -1;
  return a.localeCompare(b, "en", { numeric: true });
}

/** Lays out `places` (in the order of the view) in a box `width` pixels wide. */
export function layout(places: readonly Place[], width: number): Layout {
  const all = places.map((_, i) => i);
  const at = (i: number) => places[i] as Place;
  const groups = [...grouped(all, (i) => at(i).group)].sort(([a], [b]) => byName(a, b));
  const tiles = places.length <= TILES_MAX;
  const named = groups.some(([name]) => name !== "");
  const beside = named && width >= NARROW;
  const left = beside ? GROUP_COLUMN : 0;
  const cell = tiles ? { h: 40, gap: 4 } : { h: 17, gap: 2 };
  const out: Layout = { height: 0, cells: [], parts: [], groups: [], tiles };

  let y = 0;
  for (const [group, members] of groups) {
    const parts = [...grouped(members, (i) => at(i).part)].sort(([a], [b]) => byName(a, b));
    const partNamed = parts.some(([name]) => name !== "");
    const head = partNamed ? PART_LABEL : 0;
    const top = y;
    if (named && !beside) y += 18;
    out.groups.push({
      name: group,
      x: 0,
      y: beside ? top + head + 12 : top + 12,
      members,
    });
    const perRow = Math.max(1, Math.min(parts.length, Math.floor((width - left) / (tiles ? 300 : 150))));
    const partWidth = (width - left - GAP_PART * (perRow - 1)) / perRow;
    for (let row = 0; row < parts.length; row += perRow) {
      let rowHeight = 0;
      parts.slice(row, row + perRow).forEach(([name, list], column) => {
        const x0 = left + column * (partWidth + GAP_PART);
        if (name !== "") out.parts.push({ text: name, x: x0, y: y + 11 });
        const across = cellsAcross(list.length, partWidth, tiles);
        const w = (partWidth - cell.gap * (across - 1)) / across;
        const capped = tiles ? Math.min(w, 220) : Math.min(w, 34);
        list.forEach((index, k) => {
          out.cells.push({
            index,
            x: x0 + (k % across) * (capped + cell.gap),
            y: y + head + Math.floor(k / across) * (cell.h + cell.gap),
            w: capped,
            h: cell.h,
          });
        });
        rowHeight = Math.max(rowHeight, Math.ceil(list.length / across) * (cell.h + cell.gap) - cell.gap);
      });
      y += head + rowHeight + GAP_ROW;
    }
  }
  out.height = Math.max(0, y - GAP_ROW);
  return out;
}

function cellsAcross(n: number, width: number, tiles: boolean): number {
  if (tiles) return Math.max(1, Math.min(n, Math.floor(width / 136)));
  // Three rows look best for a part; wide fleets without parts fill the width.
  const most = Math.max(1, Math.floor(width / 22));
  return Math.max(1, Math.min(most, n > 3 * most ? most : Math.max(7, Math.ceil(n / 3))));
}

/** The cell under a point, or null in a gap. */
export function cellAt(cells: readonly Cell[], x: number, y: number): number | null {
  const k = cells.findIndex((c) => x >= c.x && x <= c.x + c.w && y >= c.y && y <= c.y + c.h);
  return k < 0 ? null : k;
}

/** Where an arrow key leads from cell `k`: sideways to the next, up and down to the nearest column. */
export function moveFrom(cells: readonly Cell[], k: number, key: string): number {
  if (cells.length === 0) return 0;
  const clamp = (i: number) => Math.min(cells.length - 1, Math.max(0, i));
  if (key === "ArrowRight") return clamp(k + 1);
  if (key === "ArrowLeft") return clamp(k - 1);
  if (key === "Home") return 0;
  if (key === "End") return cells.length - 1;
  if (key !== "ArrowDown" && key !== "ArrowUp") return k;
  const from = cells[clamp(k)] as Cell;
  const down = key === "ArrowDown";
  const rows = cells.filter((c) => (down ? c.y > from.y + 1 : c.y < from.y - 1)).map((c) => c.y);
  if (rows.length === 0) return k;
  const row = down ? Math.min(...rows) : Math.max(...rows);
  let best = k;
  let distance = Number.POSITIVE_INFINITY;
  cells.forEach((c, i) => {
    const d = Math.abs(c.x + c.w / 2 - from.x - from.w / 2);
    if (c.y === row && d < distance) {
      best = i;
      distance = d;
    }
  });
  return best;
}

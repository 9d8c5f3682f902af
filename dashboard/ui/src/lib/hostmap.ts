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
/** A map of tiles is at most this high, pixels: names are worth some scrolling on a phone. */
const TILES_HIGH = 640;
/** Any other map is at most this high, as far as its smallest cells allow: it must be seen at one glance. */
export const MAP_HIGH = 320;
/** The same on a phone, which is higher than wide. */
export const MAP_HIGH_NARROW = 400;
/** Beyond these, captions are more than what they caption: the tip of a cell has them. */
const CAPTIONS_MAX = 40;
const GROUPS_MAX = 24;

const GROUP_COLUMN = 74;
/** Lines of a group's name and mean. */
const GROUP_HIGH = 30;
const PART_LABEL = 16;
const GAP_PART = 16;
const GAP_ROW = 9;
const NARROW = 520;

/** Cells in rows, one block a part: how high and how far apart they are, and how wide at most. */
const TILE = { h: 40, gap: 4, widest: 220, tiles: true };
const CELL = { h: 17, gap: 2, widest: 34, tiles: false };
/** Cells in a flow, tried from the largest: side, gap, and pixels between two parts. */
const FLOWS = [
  [17, 2, 8],
  [12, 2, 6],
  [10, 2, 5],
  [8, 2, 5],
  [8, 1, 0],
  [6, 1, 0],
  [4, 1, 0],
] as const;

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

/** A group with its parts, both in order. */
interface Grouped {
  name: string;
  members: number[];
  parts: [name: string, members: number[]][];
}

function ordered(places: readonly Place[]): Grouped[] {
  const at = (i: number) => places[i] as Place;
  const all = places.map((_, i) => i);
  return [...grouped(all, (i) => at(i).group)]
    .sort(([a], [b]) => byName(a, b))
    .map(([name, members]) => ({
      name,
      members,
      parts: [...grouped(members, (i) => at(i).part)].sort(([a], [b]) => byName(a, b)),
    }));
}

/** Lays out `places` (in the order of the view) in a box `width` pixels wide. */
export function layout(places: readonly Place[], width: number): Layout {
  const groups = ordered(places);
  if (places.length <= TILES_MAX) {
    const tiles = inBlocks(groups, width, TILE);
    if (tiles.height <= TILES_HIGH) return tiles;
  }
  const high = width < NARROW ? MAP_HIGH_NARROW : MAP_HIGH;
  const parts = groups.reduce((sum, group) => sum + group.parts.length, 0);
  if (parts <= CAPTIONS_MAX) {
    const blocks = inBlocks(groups, width, CELL);
    if (blocks.height <= high) return blocks;
  }
  let flow = inFlow(groups, width, ...FLOWS[0]);
  for (const [side, gap, apart] of FLOWS.slice(1)) {
    if (flow.height <= high) break;
    flow = inFlow(groups, width, side, gap, apart);
  }
  return flow;
}

/** Where the names of groups go: beside their cells where there is room for a column. */
function naming(groups: readonly Grouped[], width: number) {
  const named = groups.length <= GROUPS_MAX && groups.some((group) => group.name !== "");
  const beside = named && width >= NARROW;
  return { named, beside, left: beside ? GROUP_COLUMN : 0 };
}

/** Each part is a block of its own, with its name above. */
function inBlocks(groups: readonly Grouped[], width: number, cell: typeof TILE): Layout {
  const { named, beside, left } = naming(groups, width);
  const out: Layout = { height: 0, cells: [], parts: [], groups: [], tiles: cell.tiles };
  let y = 0;
  for (const { name: group, members, parts } of groups) {
    const head = parts.some(([name]) => name !== "") ? PART_LABEL : 0;
    const top = y;
    if (named && !beside) y += 18;
    out.groups.push({ name: group, x: 0, y: beside ? top + head + 12 : top + 12, members });
    const perRow = Math.max(1, Math.min(parts.length, Math.floor((width - left) / (cell.tiles ? 300 : 150))));
    const partWidth = (width - left - GAP_PART * (perRow - 1)) / perRow;
    for (let row = 0; row < parts.length; row += perRow) {
      let rowHeight = 0;
      parts.slice(row, row + perRow).forEach(([name, list], column) => {
        const x0 = left + column * (partWidth + GAP_PART);
        if (name !== "") out.parts.push({ text: name, x: x0, y: y + 11 });
        const across = cellsAcross(list.length, partWidth, cell.tiles);
        const w = Math.min((partWidth - cell.gap * (across - 1)) / across, cell.widest);
        list.forEach((index, k) => {
          out.cells.push({
            index,
            x: x0 + (k % across) * (w + cell.gap),
            y: y + head + Math.floor(k / across) * (cell.h + cell.gap),
            w,
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

/** Parts follow each other in lines, as words do, and have no names; a part that fits a line is not broken. */
function inFlow(groups: readonly Grouped[], width: number, side: number, gap: number, apart: number): Layout {
  const { named, beside, left } = naming(groups, width);
  const out: Layout = { height: 0, cells: [], parts: [], groups: [], tiles: false };
  const step = side + gap;
  let y = 0;
  let x = left;
  const line = () => {
    x = left;
    y += step;
  };
  for (const { name, members, parts } of groups) {
    const top = y;
    if (named) {
      if (!beside) y += 18;
      x = left;
      out.groups.push({ name, x: 0, y: top + 12, members });
    }
    for (const [, list] of parts) {
      const whole = list.length * step - gap;
      if (apart > 0 && x > left && x + whole > width && left + whole <= width) line();
      for (const index of list) {
        if (x > left && x + side > width) line();
        out.cells.push({ index, x, y, w: side, h: side });
        x += step;
      }
      x += apart;
    }
    // Without names the groups follow each other in the same line.
    if (named) y = Math.max(y + step, beside ? top + GROUP_HIGH : 0) + GAP_ROW;
  }
  out.height = named ? Math.max(0, y - GAP_ROW) : out.cells.length > 0 ? y + side : 0;
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

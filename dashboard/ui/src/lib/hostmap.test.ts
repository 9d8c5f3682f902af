import { describe, expect, it } from "vitest";
import { type Cell, cellAt, layout, moveFrom, type Place } from "./hostmap";

const fleet = (groups: number, parts: number, nodes: number): Place[] =>
  Array.from({ length: groups * parts * nodes }, (_, i) => ({
    group: "abc"[Math.floor(i / (parts * nodes))] as string,
    part: `r${Math.floor(i / nodes) + 1}`,
  }));

const apart = (a: Cell, b: Cell) =>
  a.x + a.w <= b.x + 1e-6 || b.x + b.w <= a.x + 1e-6 || a.y + a.h <= b.y + 1e-6 || b.y + b.h <= a.y + 1e-6;

describe("layout", () => {
  it.each([
    [1, 1, 1, 780],
    [3, 4, 21, 780],
    [3, 4, 21, 340],
    [2, 3, 4, 780],
    [1, 1, 400, 340],
  ])("%d groups x %d parts x %d nodes in %d px: every node once, inside, apart", (z, r, n, width) => {
    const places = fleet(z, r, n);
    const l = layout(places, width);
    expect(new Set(l.cells.map((c) => c.index)).size).toBe(places.length);
    expect(l.groups).toHaveLength(z);
    for (const c of l.cells) {
      expect(c.x).toBeGreaterThanOrEqual(0);
      expect(c.x + c.w).toBeLessThanOrEqual(width + 0.01);
      expect(c.y + c.h).toBeLessThanOrEqual(l.height + 0.01);
      expect(c.w).toBeGreaterThan(8);
    }
    for (let i = 1; i < l.cells.length; i++) {
      for (let k = Math.max(0, i - 60); k < i; k++) {
        expect(apart(l.cells[i] as Cell, l.cells[k] as Cell)).toBe(true);
      }
    }
  });

  it("draws few nodes as tiles and orders names as people do", () => {
    const l = layout(
      [
        { group: "", part: "" },
        { group: "b", part: "r10" },
        { group: "b", part: "r2" },
        { group: "a", part: "" },
      ],
      800,
    );
    expect(l.tiles).toBe(true);
    expect(l.groups.map((z) => z.name)).toEqual(["a", "b", ""]);
    expect(l.parts.map((r) => r.text)).toEqual(["r2", "r10"]);
  });

  it("is empty for nobody", () => {
    expect(layout([], 800)).toMatchObject({ height: 0, cells: [] });
  });
});

describe("walking", () => {
  const { cells } = layout(fleet(3, 4, 21), 780);
  it("finds the cell under the pointer", () => {
    const c = cells[30] as Cell;
    expect(cellAt(cells, c.x + 1, c.y + 1)).toBe(30);
    expect(cellAt(cells, -5, 0)).toBeNull();
  });
  it("goes down and comes back up", () => {
    const down = moveFrom(cells, 3, "ArrowDown");
    expect((cells[down] as Cell).y).toBeGreaterThan((cells[3] as Cell).y);
    expect(moveFrom(cells, down, "ArrowUp")).toBe(3);
    expect(moveFrom(cells, 0, "ArrowUp")).toBe(0);
    expect(moveFrom(cells, 0, "ArrowLeft")).toBe(0);
    expect(moveFrom(cells, 5, "End")).toBe(cells.length - 1);
  });
});

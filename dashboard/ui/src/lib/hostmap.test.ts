import { describe, expect, it } from "vitest";
import { type Cell, cellAt, layout, MAP_HIGH, MAP_HIGH_NARROW, moveFrom, type Place } from "./hostmap";

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
    [3, 84, 4, 850],
    [3, 84, 4, 340],
  ])("%d groups x %d parts x %d nodes in %d px: every node once, inside, apart", (z, r, n, width) => {
    const places = fleet(z, r, n);
    const l = layout(places, width);
    expect(new Set(l.cells.map((c) => c.index)).size).toBe(places.length);
    expect(l.groups).toHaveLength(z);
    for (const c of l.cells) {
      expect(c.x).toBeGreaterThanOrEqual(0);
      expect(c.x + c.w).toBeLessThanOrEqual(width + 0.01);
      expect(c.y + c.h).toBeLessThanOrEqual(l.height + 0.01);
      expect(c.w).toBeGreaterThanOrEqual(8);
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

  it.each([
    [3, 25, 4, 850],
    [3, 84, 4, 850],
    [3, 84, 4, 340],
    [1, 1, 1000, 340],
    [3, 667, 4, 850],
  ])("%d groups x %d parts x %d nodes in %d px are seen at one glance", (z, r, n, width) => {
    const l = layout(fleet(z, r, n), width);
    expect(l.height).toBeLessThanOrEqual(width > 500 ? MAP_HIGH : MAP_HIGH_NARROW);
    expect(l.cells).toHaveLength(z * r * n);
  });

  it("keeps a part together and names no more than can be read", () => {
    const places = fleet(3, 84, 4);
    const l = layout(places, 850);
    expect(l.parts).toEqual([]);
    expect(l.groups.map((g) => g.name)).toEqual(["a", "b", "c"]);
    const lines = new Map<string, Set<number>>();
    for (const c of l.cells) {
      const place = places[c.index] as Place;
      const part = `${place.group}/${place.part}`;
      lines.set(part, (lines.get(part) ?? new Set()).add(c.y));
    }
    expect([...lines.values()].every((ys) => ys.size === 1)).toBe(true);
    const many = Array.from({ length: 500 }, (_, i) => ({ group: `g${i}`, part: "" }));
    expect(layout(many, 850).groups).toEqual([]);
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

import { describe, expect, it } from "vitest";
import { Rings } from "./rings";

const T = 1_700_000_000;

function loaded(): Rings {
  const r = new Rings(16);
  r.load(
    T,
    [
      { name: "a", values: [1, 2, Number.NaN, 4] },
      { name: "b", values: [10, Number.NaN, Number.NaN, 40] },
    ],
    T + 3,
  );
  return r;
}

describe("Rings", () => {
  it("takes a snapshot and distinguishes missing seconds from missing values", () => {
    const r = loaded();
    expect(r.newest).toBe(T + 3);
    expect(r.get("a", T + 1)).toBe(2);
    expect(r.get("b", T + 1)).toBeNaN();
    expect(r.present(T + 1)).toBe(true);
    expect(r.present(T + 2)).toBe(false);
    expect(r.get("nothing", T)).toBeNaN();
    expect(r.firstPresent(T - 5)).toBe(T);
  });

  it("appends, leaves a hole for skipped seconds, and corrects an old second", () => {
    const r = loaded();
    r.push(T + 7, [7, 70], []);
    expect(r.newest).toBe(T + 7);
    expect(r.present(T + 5)).toBe(false);
    const out: (number | null)[] = [];
    expect(r.window("a", T + 2, T + 7, out)).toBe(true);
    expect(out).toEqual([null, 4, null, null, null, 7]);
    r.push(T + 5, [5, 50], []);
    expect(r.newest).toBe(T + 7);
    expect(r.get("b", T + 5)).toBe(50);
  });

  it("accepts columns that appear later and keeps the order of the wire", () => {
    const r = loaded();
    r.push(T + 4, [5, 50, 500], ["c"]);
    expect(r.get("c", T + 4)).toBe(500);
    expect(r.get("c", T + 3)).toBeNaN();
    expect(r.columnNames()).toEqual(["a", "b", "c"]);
  });

  it("never shows an overwritten second as current", () => {
    const r = loaded();
    for (let i = 4; i < 40; i++) r.push(T + i, [i, i], []);
    expect(r.get("a", T + 1)).toBeNaN();
    expect(r.get("a", T + 39)).toBe(39);
    r.push(T + 2, [9, 9], []);
    expect(r.get("a", T + 2)).toBeNaN();
  });

  it("loads only what fits", () => {
    const r = new Rings(8);
    r.load(T, [{ name: "a", values: Array.from({ length: 20 }, (_, i) => i) }], T + 19);
    expect(r.get("a", T + 19)).toBe(19);
    expect(r.get("a", T + 5)).toBeNaN();
  });

  it("copies independently", () => {
    const r = loaded();
    const c = r.copy();
    r.push(T + 4, [5, 50], []);
    expect(c.newest).toBe(T + 3);
    expect(c.get("a", T + 4)).toBeNaN();
    expect(c.get("b", T)).toBe(10);
  });

  it("computes over what is there", () => {
    const r = loaded();
    expect(r.mean("a", T + 3, 4)).toBeCloseTo(7 / 3);
    expect(r.mean("a", T + 2, 1)).toBeNaN();
    expect(r.peak("b", T, T + 3)).toBe(40);
  });
});

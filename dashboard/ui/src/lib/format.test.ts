import { describe, expect, it } from "vitest";
import * as f from "./format";

const T = f.THIN;

describe("percentiles with a bound of error", () => {
  it.each([
    [80_478.207, 3_906, `80.5${T}ms`],
    [80_478.207, 48_000, `80${T}ms`],
    [1_234, 48_000, `1.2${T}ms`],
    [80_478.207, 1_503_906, `32–200${T}ms`],
    [900_000, 1_000_000, `0.45–1.8${T}s`],
    [80_478.207, 10_003_906, `≈80${T}ms`],
    [10_400_000, 4_294_967_295, `≈10${T}s`],
    [0.5, 1_000_000, `0.25–1${T}µs`],
    [Number.NaN, 3_906, "–"],
  ])("%d µs within %d ppm", (v, ppm, want) => expect(f.text(f.microsWithin(v, ppm))).toBe(want));

  it("are short beside another one", () => {
    expect(f.microsLike(1_834, 14_200)).toBe("1.8");
    expect(f.microsLike(51_834, 14_200)).toBe("51.8");
    expect(f.microsLike(51_834, 14_200, 48_000)).toBe("52");
    expect(f.microsLike(363_000, 14_200, 48_000)).toBe("360");
    expect(f.microsLike(3_630_000, 14_200, 48_000)).toBe("3,600");
    expect(f.microsLike(51_834, 14_200, 1_503_906)).toBe("≈50");
  });
});

describe("counts and rates", () => {
  it.each([
    [0, "0"],
    [12, "12"],
    [12.34, "12.3"],
    [999.7, "1,000"],
    [1624, "1,624"],
    [9994, "9,994"],
    [9999, `10.0${T}K`],
    [42_110, `42.1${T}K`],
    [999_960, `1.00${T}M`],
    [5.24e6, `5.24${T}M`],
    [Number.NaN, "–"],
  ])("count %d", (v, want) => expect(f.text(f.count(v))).toBe(want));

  it("puts no space before /s alone", () => {
    expect(f.text(f.rate(624))).toBe("624/s");
    expect(f.text(f.rate(5.24e6))).toBe(`5.24${T}M/s`);
    expect(f.text(f.rate(Number.NaN))).toBe("–");
  });

  it("writes round axis ticks without trailing zeros", () => {
    expect([0, 0.5, 500, 2500, 2e6, 1.5e9].map(f.axisCount)).toEqual([
      "0",
      "0.5",
      "500",
      `2.5${T}K`,
      `2${T}M`,
      `1.5${T}G`,
    ]);
  });

  it("groups thousands", () => {
    expect(f.grouped(1_234_567)).toBe("1,234,567");
    expect(f.grouped(-1234)).toBe("-1,234");
  });
});

describe("shares", () => {
  it.each([
    [0, "0%"],
    [0.00031, "0.031%"],
    [0.618, "61.8%"],
    [0.09996, "10.0%"],
    [0.9999, "100%"],
    [1, "100%"],
    [0.000001, "<0.001%"],
  ])("percent %d", (v, want) => expect(f.text(f.percent(v))).toBe(want));

  it("distinguishes points from per cent", () => {
    expect(f.points(0.618, 0.587)).toBe(`↑ 3.1${T}pp`);
    expect(f.points(0.5, 0.5)).toBe(`→ 0${T}pp`);
    expect(f.points(0.00031, 0.00027)).toBe(`↑ 0.004${T}pp`);
    expect(f.change(112.4, 100)).toBe("↑ 12%");
    expect(f.change(101.4, 100)).toBe("↑ 1.4%");
    expect(f.change(50, 100)).toBe("↓ 50%");
    expect(f.change(5, 0)).toBeNull();
    expect(f.change(1200, 100)).toBe("↑ 12×");
  });

  it("compares with the median", () => {
    expect(f.timesMedian(21.4, 21.1)).toBe("1.01× median");
    expect(f.timesMedian(92.4, 14.2)).toBe("6.5× median");
    expect(f.timesMedian(1, Number.NaN)).toBeNull();
  });
});

describe("durations", () => {
  it.each([
    [0, `0${T}ms`],
    [0.64, `640${T}ns`],
    [12.5, `12.5${T}µs`],
    [999.96, `1.00${T}ms`],
    [1800, `1.80${T}ms`],
    [2.4e6, `2.40${T}s`],
  ])("micros %d", (v, want) => expect(f.text(f.micros(v))).toBe(want));

  it.each([
    [38, `38${T}s`],
    [250, `4${T}m 10${T}s`],
    [3600, `1${T}h`],
    [3_564_000, `41${T}d 6${T}h`],
  ])("span %d", (v, want) => expect(f.span(v)).toBe(want));
});

describe("figures beside each other", () => {
  it("share a unit when they can", () => {
    expect(f.microsLike(1800, 14_200)).toBe("1.8");
    expect(f.microsLike(298, 8420)).toBe("0.30");
    expect(f.microsLike(188_400, 92_400)).toBe("188");
    expect(f.microsLike(1800, 400)).toBe("1,800");
    expect(f.microsLike(Number.NaN, 400)).toBe("–");
    expect(f.bytesOf(11.5 * 1024 ** 4, 15.25 * 1024 ** 4)).toBe(`11.5 of 15.3${T}TiB`);
    expect(f.bytesOf(512 * 1024 ** 2, 1024 ** 3)).toBe(`512${T}MiB of 1${T}GiB`);
  });
});

describe("bytes and bits", () => {
  it("uses binary units for memory", () => {
    expect(f.text(f.bytes(15.5 * 1024 ** 4))).toBe(`15.5${T}TiB`);
    expect(f.text(f.bytes(64 * 1024 ** 3))).toBe(`64${T}GiB`);
    expect(f.text(f.bytes(512))).toBe(`512${T}B`);
    expect(f.axisBytes(16 * 1024 ** 3)).toBe(`16${T}GiB`);
  });
  it("uses decimal units for links", () => {
    expect(f.text(f.bits(7.6e9))).toBe(`7.60${T}Gbit/s`);
    expect(f.text(f.bits(12))).toBe(`12${T}bit/s`);
    expect(f.axisBits(5e9)).toBe(`5${T}G`);
  });
});

it("writes a 24-hour clock with two digits", () => {
  expect(f.clock(0)).toMatch(/^\d\d:\d\d:\d\d$/);
  expect(f.clockMinute(0)).toMatch(/^\d\d:\d\d$/);
});

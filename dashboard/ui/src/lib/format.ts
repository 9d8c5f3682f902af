// How numbers become words. Every figure on the page goes through here.
//
// Rules: three significant figures; a thin space before a unit, none before % and /s; K, M, G for counts;
// KiB to TiB for memory; bit/s for links; ns to s chosen by value; 24-hour clock. Missing is an en dash.
import { signal } from "@preact/signals";
import { offsetWithin, onClocks, zone } from "./zone";

/** Narrow no-break space: keeps a number and its unit on one line. */
export const THIN = "\u202f";

/** What stands for a value that is not there. */
export const NONE = "–";

/** A number that may be missing: not sent, or NaN in a column. */
export type Maybe = number | undefined;

/** A formatted number and its unit, apart, because the unit is often drawn smaller. */
export interface Quantity {
  value: string;
  unit: string;
}

const MISSING: Quantity = { value: NONE, unit: "" };

/** Number and unit in one string. */
export function text(q: Quantity): string {
  if (q.unit === "") return q.value;
  return q.unit.startsWith("%") || q.unit.startsWith("/") ? q.value + q.unit : q.value + THIN + q.unit;
}

/** True when there is a value to show. */
export function known(v: Maybe | null): v is number {
  return v !== undefined && v !== null && Number.isFinite(v);
}

/** Three significant figures (or `digits`). Whole numbers under 1,000 stay whole. */
export function significant(v: Maybe, digits = 3): string {
  if (!known(v)) return NONE;
  if (v === 0 || (Number.isInteger(v) && Math.abs(v) < 1000)) return String(v);
  const rounded = Number(v.toPrecision(digits));
  if (Math.abs(rounded) >= 1000) return grouped(rounded);
  if (Math.abs(rounded) < 1e-6) return "0";
  return rounded.toPrecision(digits);
}

/** A whole number in full: 1,234,567. */
export function grouped(v: Maybe): string {
  if (!known(v)) return NONE;
  const whole = String(Math.round(Math.abs(v)));
  return (v < 0 && whole !== "0" ? "-" : "") + whole.replace(/\B(?=(\d{3})+$)/g, ",");
}

function scaled(v: Maybe, steps: readonly (readonly [number, string])[], suffix = ""): Quantity {
  if (!known(v)) return MISSING;
  // The unit is chosen after rounding, so that 999.96 K becomes 1.00 M and not 1,000 K.
  const rounded = Math.abs(Number(v.toPrecision(3)));
  for (const [size, unit] of steps) {
    if (rounded >= size) return { value: (v / size).toPrecision(3), unit: unit + suffix };
  }
  return { value: significant(v), unit: suffix };
}

const COUNTS = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "K"],
] as const;

/** A count: 12, 1,624, 42.1 K, 5.24 M. Four figures are written out. */
export function count(v: Maybe): Quantity {
  if (known(v) && Math.abs(v) >= 999.5 && Math.abs(v) < 9_995) return { value: grouped(v), unit: "" };
  return scaled(v, COUNTS);
}

/** Something per second: 624/s, 5.24 M/s. */
export function rate(v: Maybe): Quantity {
  const q = count(v);
  return q === MISSING ? q : { value: q.value, unit: `${q.unit}/s` };
}

/** A count for an axis: 2 M, 250 K, 0. Ticks are round, so trailing zeros say nothing. */
export function axisCount(v: number): string {
  for (const [size, unit] of COUNTS) {
    if (Math.abs(v) >= size) return `${Number((v / size).toPrecision(4))}${THIN}${unit}`;
  }
  return String(Number(v.toPrecision(6)));
}

/** A share of a whole, given 0 to 1: 61.8%, 0.031%. */
export function percent(v: Maybe): Quantity {
  if (!known(v)) return MISSING;
  const p = v * 100;
  if (p === 0) return { value: "0", unit: "%" };
  if (Math.abs(p) < 0.0005) return { value: "<0.001", unit: "%" };
  if (Math.abs(p) < 1) return { value: String(Number(p.toPrecision(2))), unit: "%" };
  if (Math.abs(p) >= 99.95) return { value: p.toFixed(0), unit: "%" };
  return { value: p.toPrecision(3), unit: "%" };
}

/** A share as a whole percentage, for table cells and core strips: 96%. */
export function wholePercent(v: Maybe): string {
  return known(v) ? `${Math.round(v * 100)}%` : NONE;
}

const MICROS = [
  [1e6, "s"],
  [1e3, "ms"],
  [1, "µs"],
] as const;

/** A duration given in microseconds: 640 ns, 12.5 µs, 1.80 ms, 2.40 s. */
export function micros(v: Maybe): Quantity {
  if (!known(v)) return MISSING;
  if (v === 0) return { value: "0", unit: "ms" };
  const q = scaled(v, MICROS);
  return q.unit === "" ? { value: significant(v * 1000), unit: "ns" } : q;
}

/** A round duration in microseconds, for an axis. */
export function axisMicros(v: number): string {
  if (v === 0) return "0";
  for (const [size, unit] of MICROS) {
    if (v >= size) return `${Number((v / size).toPrecision(4))}${THIN}${unit}`;
  }
  return `${Number((v * 1000).toPrecision(4))}${THIN}ns`;
}

/** Relative error, in parts per million, up to which three figures are said, and up to which two. */
const THREE_FIGURES_PPM = 10_000;
export const TWO_FIGURES_PPM = 100_000;
/** From here on nothing is known of one of the buckets: it starts at 0 or has no end. */
const UNBOUNDED_PPM = 10e6;

/** Rounds to a number of significant figures. */
const rounded = (v: number, figures: number) => Number(v.toPrecision(figures));

/**
 * A percentile with as many figures as its bound of error carries: 80.5 ms, 80 ms, and beyond 10% the range in which it
 * lies, 32–200 ms; ≈80 ms where it has none. The value is somewhere in a bucket whose ends differ by a factor of 1 + the bound.
 */
export function microsWithin(v: Maybe, ppm: number): Quantity {
  if (!known(v) || v <= 0 || ppm <= THREE_FIGURES_PPM) return micros(v);
  if (ppm <= TWO_FIGURES_PPM) {
    const q = micros(rounded(v, 2));
    return { value: String(rounded(Number(q.value.replaceAll(",", "")), 2)), unit: q.unit };
  }
  const factor = 1 + ppm / 1e6;
  const low = rounded(v / factor, 2);
  if (ppm >= UNBOUNDED_PPM) {
    const size = unitOf(rounded(v, 1));
    return { value: `≈${rounded(v / size, 1)}`, unit: micros(rounded(v, 1)).unit };
  }
  const high = rounded(v * factor, 2);
  const size = unitOf(high);
  return { value: `${rounded(low / size, 2)}–${rounded(high / size, 2)}`, unit: micros(high).unit };
}

const unitOf = (v: number) => MICROS.find(([, unit]) => unit === micros(v).unit)?.[0] ?? 1e-3;

/**
 * A duration as a short bare number in the unit of another one, for "p50 1.8" beside "14.2 ms"; with the figures that its
 * bound of error carries.
 */
export function microsLike(v: Maybe, reference: Maybe, ppm = 0): string {
  if (!known(v) || !known(reference)) return text(micros(v));
  const size = unitOf(reference);
  if (ppm > TWO_FIGURES_PPM) return `≈${rounded(v / size, 1)}`;
  // Three figures where they fall before the point, else two.
  const figures = v / size >= 10 && ppm <= THREE_FIGURES_PPM ? 3 : 2;
  const short = rounded(v / size, figures);
  return short >= 100 ? grouped(short) : significant(short, figures);
}

/** How sizes are written: memory by 1,024 or by 1,000, networks in bits or in bytes. */
export const units = signal<{ bytes: "binary" | "decimal"; network: "bits" | "bytes" }>({
  bytes: "binary",
  network: "bits",
});

const BINARY = [
  [1024 ** 5, "PiB"],
  [1024 ** 4, "TiB"],
  [1024 ** 3, "GiB"],
  [1024 ** 2, "MiB"],
  [1024, "KiB"],
] as const;

const DECIMAL = [
  [1e15, "PB"],
  [1e12, "TB"],
  [1e9, "GB"],
  [1e6, "MB"],
  [1e3, "kB"],
] as const;

const byteUnits = () => (units.value.bytes === "binary" ? BINARY : DECIMAL);

/** Memory: 15.5 TiB, 52.2 GiB, 512 B. */
export function bytes(v: Maybe): Quantity {
  if (!known(v)) return MISSING;
  for (const [size, unit] of byteUnits()) {
    // After rounding, so that 1,023.9 MiB becomes 1.00 GiB.
    if (Number((v / size).toPrecision(3)) >= 1) return { value: significant(v / size), unit };
  }
  return { value: significant(Math.round(v)), unit: "B" };
}

/** A part and its whole: "11.5 of 15.3 TiB", or with both units when they differ. */
export function bytesOf(part: Maybe, whole: Maybe): string {
  const [a, b] = [bytes(part), bytes(whole)];
  return a.unit === b.unit ? `${a.value} of ${text(b)}` : `${text(a)} of ${text(b)}`;
}

/** Memory moved per second: 42.0 MiB/s. */
export function byteRate(v: number): Quantity {
  const q = bytes(v);
  return q === MISSING ? q : { value: q.value, unit: `${q.unit}/s` };
}

/** The unit that suits values up to `max`: its size in bytes and its name. */
export function byteUnit(max: number): { size: number; unit: string } {
  for (const [size, unit] of byteUnits()) {
    if (max >= size) return { size, unit };
  }
  return { size: 1, unit: "B" };
}

/**
 * What the steps of an axis of bytes up to `max` are round multiples of: the unit that fits, or a quarter of the next
 * one where the axis would reach 1,000 and beyond.
 */
export function axisByteStep(max: number): number {
  const { size } = byteUnit(max);
  return max <= 750 * size || units.value.bytes === "decimal" ? size : 256 * size;
}

/** A round size for an axis, in the unit that fits it. */
export function axisBytes(v: number): string {
  if (v === 0) return "0";
  const { size, unit } = byteUnit(v);
  return `${Number((v / size).toPrecision(4))}${THIN}${unit}`;
}

const BITS = [
  [1e12, "Tbit/s"],
  [1e9, "Gbit/s"],
  [1e6, "Mbit/s"],
  [1e3, "kbit/s"],
] as const;

/** Throughput of a link, given bits per second: 7.60 Gbit/s. */
export function bits(v: number): Quantity {
  const q = scaled(v, BITS);
  return q.unit === "" && q !== MISSING ? { value: q.value, unit: "bit/s" } : q;
}

/** A round throughput for an axis. */
export function axisBits(v: number): string {
  if (v === 0) return "0";
  for (const [size, unit] of BITS) {
    if (v >= size) return `${Number((v / size).toPrecision(4))}${THIN}${unit.replace("bit/s", "")}`;
  }
  return String(Number(v.toPrecision(4)));
}

/** How long, given seconds: 38 s, 4 m 10 s, 3 h 5 m, 41 d 6 h. */
export function span(seconds: number): string {
  if (!known(seconds)) return NONE;
  const s = Math.max(0, Math.floor(seconds));
  const part = (n: number, unit: string) => `${n}${THIN}${unit}`;
  const pair = (a: number, ua: string, b: number, ub: string) =>
    b === 0 ? part(a, ua) : `${part(a, ua)} ${part(b, ub)}`;
  if (s < 60) return part(s, "s");
  if (s < 3600) return pair(Math.floor(s / 60), "m", s % 60, "s");
  if (s < 86_400) return pair(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "m");
  return pair(Math.floor(s / 86_400), "d", Math.floor((s % 86_400) / 3600), "h");
}

/** The length of a range in words: "30 seconds", "15 minutes". */
export function lengthInWords(seconds: number): string {
  if (seconds < 60) return plural(seconds, "second");
  if (seconds < 7200) return plural(Math.round(seconds / 60), "minute");
  return seconds < 172_800
    ? plural(Math.round(seconds / 3600), "hour")
    : plural(Math.round(seconds / 86_400), "day");
}

/** A share as an axis label: 0, 50%, 100%. */
export function axisPercent(v: number): string {
  return v === 0 ? "0" : wholePercent(v);
}

/** How a value moved, relative: "↑ 1.4%". Null when there is nothing to compare with. */
export function change(now: Maybe, before: Maybe): string | null {
  if (!known(now) || !known(before) || before === 0) return null;
  const r = now / before - 1;
  if (Math.abs(r) < 0.0005) return "→ 0%";
  if (r > 9.99) return `↑ ${significant(now / before)}×`;
  const size = Math.abs(r) * 100;
  return `${r > 0 ? "↑" : "↓"} ${size < 10 ? size.toFixed(1) : size.toFixed(0)}%`;
}

/** How a share moved, in percentage points: "↑ 3.1 pp". */
export function points(now: Maybe, before: Maybe): string | null {
  if (!known(now) || !known(before)) return null;
  const d = (now - before) * 100;
  const size = Math.abs(d);
  if (size < 0.0005) return `→ 0${THIN}pp`;
  const value = size >= 0.1 ? size.toFixed(1) : String(Number(size.toPrecision(1)));
  return `${d > 0 ? "↑" : "↓"} ${value}${THIN}pp`;
}

/** A value against the cluster median: "1.19× median". */
export function timesMedian(v: Maybe, median: Maybe): string | null {
  if (!known(v) || !known(median) || median <= 0) return null;
  const r = v / median;
  return `${r >= 10 ? Math.round(r) : r.toFixed(r >= 3 ? 1 : 2)}× median`;
}

const pad = (n: number) => String(n).padStart(2, "0");

/** Time of day of a Unix second, in the zone of the page: 14:32:07. */
export function clock(unixSeconds: number): string {
  const d = onClocks(unixSeconds);
  return `${pad(d.getUTCHours())}:${pad(d.getUTCMinutes())}:${pad(d.getUTCSeconds())}`;
}

/** Time of day without seconds: 14:32. */
export function clockMinute(unixSeconds: number): string {
  return clock(unixSeconds).slice(0, 5);
}

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** Day of a Unix second: 26 Nov. */
export function day(unixSeconds: number): string {
  const d = onClocks(unixSeconds);
  return `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}`;
}

/** Day and time of day: 26 Nov 14:32. */
export function dated(unixSeconds: number): string {
  return `${day(unixSeconds)} ${clockMinute(unixSeconds)}`;
}

/** The day at midnight, else the time of day: for an axis over days. */
export function dayOrMinute(unixSeconds: number): string {
  const minute = clockMinute(unixSeconds);
  return minute === "00:00" ? day(unixSeconds) : minute;
}

/**
 * A second of a chart over so many seconds, with no more than its points and its length need; with the offset of the zone
 * where the clocks change within what begins at `from`.
 */
export function clockWithin(unixSeconds: number, seconds: number, step: number, from?: number): string {
  const offset = from === undefined ? "" : offsetWithin(unixSeconds, from, from + seconds);
  const time =
    seconds >= 86_399 ? dated(unixSeconds) : step % 60 === 0 ? clockMinute(unixSeconds) : clock(unixSeconds);
  return offset === "" ? time : `${time} ${offset}`;
}

/** Short name of the time zone in which `clock` speaks, for example "UTC" or "GMT+2". */
export function zoneName(): string {
  const timeZone = zone.value === "local" ? undefined : zone.value;
  const format = new Intl.DateTimeFormat("en", { timeZone, timeZoneName: "short" });
  const parts = format.formatToParts(new Date());
  return parts.find((p) => p.type === "timeZoneName")?.value ?? "local time";
}

/** A long name with its middle left out: both of its ends tell it from others. */
export function middle(name: string, most = 28): string {
  const signs = [...name];
  if (signs.length <= most) return name;
  const tail = Math.floor((most - 1) / 2);
  return `${signs.slice(0, most - 1 - tail).join("")}…${signs.slice(-tail).join("")}`;
}

/** "1 node", "248 nodes". */
export function plural(n: Maybe, one: string, many = `${one}s`): string {
  return `${grouped(n)} ${n === 1 ? one : many}`;
}

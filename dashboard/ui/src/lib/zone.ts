/** The time zone in which the page speaks, and what its clocks show. */
import { signal } from "@preact/signals";

/** "local" is that of the browser, "UTC", or a name of the IANA list such as "Europe/Berlin". */
export const zone = signal("local");

/** Offsets that are remembered: a week has few. */
const KNOWN_MAX = 2_000;
/** No zone changes its offset within a quarter of an hour that begins at a full one. */
const QUARTER = 900;
const known = new Map<string, number>();

/** True for a name that the browser knows. */
export function isZone(name: string): boolean {
  if (name === "local") return true;
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** The name for the server and for people: that of the browser when it is "local". */
export function zoneId(): string {
  return zone.value === "local" ? Intl.DateTimeFormat().resolvedOptions().timeZone : zone.value;
}

/** Seconds by which the clocks of the zone are ahead of UTC at a Unix second. */
export function offsetAt(unixSeconds: number): number {
  const name = zone.value;
  if (name === "UTC") return 0;
  if (name === "local") return -new Date(unixSeconds * 1000).getTimezoneOffset() * 60;
  const quarter = Math.floor(unixSeconds / QUARTER);
  const key = `${name} ${quarter}`;
  let offset = known.get(key);
  if (offset === undefined) {
    offset = ofZone(name, quarter * QUARTER);
    if (known.size >= KNOWN_MAX) known.clear();
    known.set(key, offset);
  }
  return offset;
}

function ofZone(name: string, unixSeconds: number): number {
  const format = new Intl.DateTimeFormat("en", { timeZone: name, timeZoneName: "longOffset" });
  const text = format
    .formatToParts(new Date(unixSeconds * 1000))
    .find((is) => is.type === "timeZoneName")?.value;
  const found = /GMT([+-])(\d\d):(\d\d)(?::(\d\d))?/.exec(text ?? "");
  if (!found) return 0;
  const [, sign, hours, minutes, seconds = "0"] = found;
  return (sign === "-" ? -1 : 1) * (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds));
}

/** A date whose UTC fields are what the clocks of the zone show. */
export function onClocks(unixSeconds: number): Date {
  return new Date((unixSeconds + offsetAt(unixSeconds)) * 1000);
}

/** The Unix second at which the clocks show what `wall` would be in UTC; of an hour that comes twice the first. */
export function fromClocks(wall: number): number {
  const before = wall - offsetAt(wall - 86_400);
  if (before + offsetAt(before) === wall) return before;
  const after = wall - offsetAt(wall + 86_400);
  // An hour that is left out is read as it would have been.
  return after + offsetAt(after) === wall ? after : before;
}

/** What `<input type="datetime-local">` takes: the clocks of the zone by the second. */
export function clockField(unixSeconds: number): string {
  return onClocks(unixSeconds).toISOString().slice(0, 19);
}

/** The inverse; NaN for what is no time. */
export function readClockField(text: string): number {
  const wall = Date.parse(`${text}Z`);
  return Number.isNaN(wall) ? Number.NaN : fromClocks(Math.floor(wall / 1000));
}

/** "+02:00" when the clocks change within a stretch of time, so that an hour that comes twice is told apart; else "". */
export function offsetWithin(unixSeconds: number, from: number, to: number): string {
  if (offsetAt(from) === offsetAt(to)) return "";
  const offset = offsetAt(unixSeconds);
  const minutes = Math.abs(offset) / 60;
  const pad = (n: number) => String(Math.floor(n)).padStart(2, "0");
  return `${offset < 0 ? "-" : "+"}${pad(minutes / 60)}:${pad(minutes % 60)}`;
}

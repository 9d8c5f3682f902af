import { afterEach, describe, expect, it } from "vitest";
import { clock, clockWithin, dated, zoneName } from "./format";
import { timeTicks } from "./ticks";
import { clockField, fromClocks, isZone, offsetAt, offsetWithin, readClockField, zone } from "./zone";

const at = (text: string) => Date.parse(text) / 1000;

afterEach(() => {
  zone.value = "local";
});

describe("the clocks of a zone", () => {
  it("show what they show there, a quarter of an hour past and in the south", () => {
    zone.value = "UTC";
    expect(clock(at("2026-11-29T00:01:30Z"))).toBe("00:01:30");
    zone.value = "Asia/Kolkata";
    expect(dated(at("2026-11-28T18:31:30Z"))).toBe("29 Nov 00:01");
    zone.value = "America/St_Johns";
    expect(clock(at("2026-11-29T03:31:30Z"))).toBe("00:01:30");
    zone.value = "Europe/Berlin";
    expect(clock(at("2026-07-01T12:00:00Z"))).toBe("14:00:00");
    expect(clock(at("2026-11-29T12:00:00Z"))).toBe("13:00:00");
    expect(zoneName()).toMatch(/GMT\+[12]|CES?T/);
  });

  it("are read back as they were written", () => {
    for (const name of ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"]) {
      zone.value = name;
      for (const time of ["2026-03-29T00:30:00Z", "2026-10-25T03:30:00Z", "2026-12-31T23:59:59Z"])
        expect(readClockField(clockField(at(time)))).toBe(at(time));
    }
    expect(readClockField("")).toBeNaN();
  });

  it("that come twice are told apart, and one that is left out is read all the same", () => {
    zone.value = "Europe/Berlin";
    const [first, second] = [at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z")];
    expect([clock(first), clock(second)]).toEqual(["02:30:00", "02:30:00"]);
    const [from, to] = [first - 43_200, second + 43_199];
    expect(offsetWithin(first, from, to)).toBe("+02:00");
    expect(offsetWithin(second, from, to)).toBe("+01:00");
    expect(offsetWithin(second, second, to)).toBe("");
    expect(clockWithin(first, to - from, 3600, from)).toBe("25 Oct 02:30 +02:00");
    expect(clockWithin(second, to - from, 3600, from)).toBe("25 Oct 02:30 +01:00");
    // 02:30 on the last Sunday of March.
    expect(clock(fromClocks(at("2026-03-29T02:30:00Z")))).toMatch(/^0[13]:30:00$/);
  });

  it("carry the labels of an axis over the change", () => {
    zone.value = "Europe/Berlin";
    const days = timeTicks(at("2026-10-23T00:00:00Z"), at("2026-10-28T00:00:00Z"), 6);
    expect(days.map((t) => clock(t))).toEqual(Array(days.length).fill("00:00:00"));
    expect(days.length).toBe(5);
  });

  it("have names that the browser knows", () => {
    expect(isZone("Europe/Berlin")).toBe(true);
    expect(isZone("Mars/Olympus")).toBe(false);
    zone.value = "Asia/Kathmandu";
    expect(offsetAt(at("2026-11-29T00:00:00Z"))).toBe(20_700);
  });
});

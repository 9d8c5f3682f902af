import { describe, expect, test } from "vitest";
import { costText, type Process, type ProcessesAnswer, ranked, stateText } from "./processes";

const process = (pid: number, cpuCores: number | null, memoryBytes = 0, written = 0): Process => ({
  pid,
  name: `p${pid}`,
  state: "S",
  userId: 0,
  threads: 1,
  group: "",
  cpuCores,
  memoryBytes,
  readBytesPerSecond: null,
  writeBytesPerSecond: written,
  ageSeconds: 1,
});

describe("processes", () => {
  test("are ranked by what is asked, and those that are equal stand still", () => {
    const all = [process(3, null, 5), process(1, 0.5, 1, 9), process(2, 0, 5), process(4, 2, 2)];
    const pids = (by: "cpu" | "memory" | "disk") => ranked(all, by, 3).map((p) => p.pid);
    expect(pids("cpu")).toEqual([4, 1, 2]);
    expect(pids("memory")).toEqual([2, 3, 4]);
    expect(pids("disk")).toEqual([1, 2, 3]);
  });

  test("what looking costs is told", () => {
    const answer = { processCount: 180, costCpuSeconds: 0.004, everySeconds: 1 } as ProcessesAnswer;
    expect(costText(answer)).toContain("180 processes; looking costs the host 0.4");
    expect(costText({ ...answer, costCpuSeconds: 0.06, everySeconds: 3 })).toContain("read every 3 s");
  });

  test("states are words", () => {
    expect([stateText("D"), stateText("?")]).toEqual(["waits for a disk", "?"]);
  });
});

/** The processes of a host, as they are while somebody looks. Pure. */
import * as f from "./format";

export interface Process {
  pid: number;
  name: string;
  state: string;
  userId: number;
  threads: number;
  group: string;
  cpuCores: number | null;
  memoryBytes: number;
  readBytesPerSecond: number | null;
  writeBytesPerSecond: number | null;
  ageSeconds: number;
}

export interface ProcessesAnswer {
  time: string;
  processes: Process[];
  processCount: number;
  processesLeftOut: number;
  costCpuSeconds: number;
  everySeconds: number;
}

export type By = "cpu" | "memory" | "disk";

const disk = (p: Process) => (p.readBytesPerSecond ?? 0) + (p.writeBytesPerSecond ?? 0);
const RANK: Record<By, (p: Process) => number> = {
  cpu: (p) => p.cpuCores ?? 0,
  memory: (p) => p.memoryBytes,
  disk,
};

/** The first `most` by one of their uses; of equals the larger one, and then the older one, so that none jumps. */
export function ranked(processes: readonly Process[], by: By, most: number): Process[] {
  const of = RANK[by];
  return [...processes]
    .sort((a, b) => of(b) - of(a) || b.memoryBytes - a.memoryBytes || a.pid - b.pid)
    .slice(0, most);
}

/** What the letter of a state means (proc_pid_stat(5)). */
const STATES: Record<string, string> = {
  R: "running",
  S: "sleeping",
  D: "waits for a disk",
  I: "idle",
  T: "stopped",
  t: "traced",
  Z: "defunct",
  X: "dead",
};

export const stateText = (letter: string) => STATES[letter] ?? letter;

/** How many there are, and what it costs to look. */
export function costText(answer: ProcessesAnswer): string {
  const cost = f.text(f.percent(answer.costCpuSeconds / answer.everySeconds));
  const every = answer.everySeconds > 1 ? `, read every ${answer.everySeconds} s` : "";
  return `${f.plural(answer.processCount, "process", "processes")}; looking costs the host ${cost} of a processor${every}`;
}

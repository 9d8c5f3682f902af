// TEST FEEDER: INVENTED answers of /api/v1/nodes/ID/detail: a busy process, a large one, and one whose name is hostile.
import { HOSTILE } from "./services.mjs";

const process = (pid, name, cpuCores, memoryBytes, more = {}) => ({
  pid,
  name,
  state: "S",
  userId: 33,
  threads: 8,
  group: "shop.service",
  cpuCores,
  memoryBytes,
  readBytesPerSecond: 0,
  writeBytesPerSecond: 4_096,
  ageSeconds: 7_200,
  ...more,
});

/** The node of a path, or null. */
export const detailOf = (path) => /^\/api\/v1\/nodes\/([^/]+)\/detail$/.exec(path)?.[1] ?? null;

export function detailAnswer(node, now) {
  const rest = Array.from({ length: 12 }, (_, i) => process(100 + i, `worker-${i}`, 0.01 * i, 1e7));
  return {
    node: decodeURIComponent(node),
    time: new Date(now * 1_000).toISOString(),
    processes: [
      process(4_242, "java", 1.5, 3e9, { state: "R" }),
      process(77, HOSTILE, 0.2, 5e9, { readBytesPerSecond: null, writeBytesPerSecond: null, group: "" }),
      ...rest,
    ],
    processCount: 180,
    processesLeftOut: 0,
    costCpuSeconds: 0.0034,
    everySeconds: 1,
  };
}

/** What the processors' time went to: the modes of the kernel in four groups. */
import type { Cpu } from "../gen/starling/v1/cluster_pb";

const GROUPS = [
  ["User", ["user", "nice"]],
  ["System", ["system", "irq", "softirq"]],
  ["I/O wait", ["iowait"]],
  ["Steal", ["steal"]],
] as const;

/** Share of time of each group, 0 to 1. A mode that is not there took no time; without any mode nothing is known. */
export function modesOf({
  ratioByMode,
}: Pick<Cpu, "ratioByMode">): [name: string, share: number | undefined][] {
  const reported = Object.keys(ratioByMode).length > 0;
  return GROUPS.map(([name, modes]) => [
    name,
    reported ? modes.reduce((sum, mode) => sum + (ratioByMode[mode] ?? 0), 0) : undefined,
  ]);
}

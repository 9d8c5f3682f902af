/** What the memory of the cluster or of one node is used for in the newest second. */
import { Arc } from "../components/Arc";
import { Absent, Panel } from "../components/Panel";
import { PartList, StackBar, type StackPart } from "../components/StackBar";
import type { Memory } from "../gen/starling/v1/cluster_pb";
import { bytes, bytesOf, percent, text } from "../lib/format";

/** What memory is used for, without what is available. */
function memoryParts(m: Memory): StackPart[] {
  return [
    { label: "Application", value: m.applicationBytes, color: "c-h2" },
    { label: "Buffer and cache", value: m.bufferCacheBytes, color: "c-h1" },
    { label: "System", value: m.systemBytes, color: "c-ws" },
    { label: "Free", value: m.freeBytes, color: "surface-3" },
  ];
}

export function MemoryPanel({ memory, note }: { memory: Memory | undefined; note: string }) {
  if (!memory?.totalBytes) return <Absent title="Memory" what="No memory data in this second." />;
  const share = memory.usedRatio;
  const parts = memoryParts(memory);
  const more: StackPart[] = [
    { label: "Used: all but available", value: memory.usedBytes, color: null },
    { label: "Available", value: memory.availableBytes, color: null },
  ];
  if (memory.swapTotalBytes) {
    more.push({
      label: `Swap, of ${text(bytes(memory.swapTotalBytes))}`,
      value: memory.swapUsedBytes,
      color: null,
    });
  }
  if (memory.hugePagesTotalBytes) {
    more.push({
      label: `Huge pages, of ${text(bytes(memory.hugePagesTotalBytes))}`,
      value: memory.hugePagesUsedBytes,
      color: null,
    });
  }
  const used = bytesOf(memory.usedBytes, memory.totalBytes);
  return (
    <Panel title="Memory" note={note} width={4}>
      <div class="centre">
        <Arc
          parts={[{ share, color: "c-h2" }]}
          size={150}
          height={86}
          thick={11}
          from={-180}
          sweep={180}
          label={`Memory ${text(percent(share))} used, ${used}`}
          middle={text(percent(share))}
          middleY={62}
          middleSize={20}
          below={used}
        />
      </div>
      <StackBar parts={parts} whole={memory.totalBytes} label="Memory" />
      <PartList parts={[...parts, ...more]} whole={memory.totalBytes} format={bytes} />
    </Panel>
  );
}

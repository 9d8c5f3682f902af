/** What the memory of the cluster or of one node is used for in the newest second. */
import { Arc } from "../components/Arc";
import { Absent, Panel } from "../components/Panel";
import { PartList, StackBar, type StackPart } from "../components/StackBar";
import type { Memory } from "../gen/starling/v1/sections_pb";
import { bytes, bytesOf, percent, text } from "../lib/format";

/** What memory is used for, without what is available. */
function memoryParts(m: Memory): StackPart[] {
  return [
    { label: "Application", value: m.application, color: "c-h2" },
    { label: "Buffer and cache", value: m.bufferCache, color: "c-h1" },
    { label: "System", value: m.system, color: "c-ws" },
    { label: "Free", value: m.free, color: "surface-3" },
  ];
}

export function MemoryPanel({ memory, note }: { memory: Memory | undefined; note: string }) {
  if (!memory || memory.total === 0) return <Absent title="Memory" what="No memory data in this second." />;
  const share = memory.usedRatio;
  const parts = memoryParts(memory);
  const more: StackPart[] = [{ label: "Available", value: memory.available, color: null }];
  if (memory.swapTotal) {
    more.push({ label: `Swap, of ${text(bytes(memory.swapTotal))}`, value: memory.swapUsed, color: null });
  }
  if (memory.hugePagesTotal) {
    more.push({
      label: `Huge pages, of ${text(bytes(memory.hugePagesTotal))}`,
      value: memory.hugePagesUsed,
      color: null,
    });
  }
  const used = bytesOf(memory.used, memory.total);
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
      <StackBar parts={parts} whole={memory.total} label="Memory" />
      <PartList parts={[...parts, ...more]} whole={memory.total} format={bytes} />
    </Panel>
  );
}

/** A panel around one time chart, with its table. */
import { useSignal } from "@preact/signals";
import type { ComponentChildren, ComponentProps } from "preact";
import { TimeChart } from "./chart";
import { Panel } from "./Panel";

interface Props extends Omit<ComponentProps<typeof TimeChart>, "table"> {
  width: 4 | 6 | 8 | 12;
  note?: ComponentChildren;
  controls?: ComponentChildren;
}

export function ChartPanel({ width, note, controls, ...chart }: Props) {
  const table = useSignal(false);
  return (
    <Panel
      title={chart.title}
      note={note}
      width={width}
      controls={controls}
      table={{
        on: table.value,
        toggle: () => {
          table.value = !table.value;
        },
      }}
    >
      <TimeChart {...chart} table={table.value} />
    </Panel>
  );
}

/** The panel around the core strips. */
import { useSignal } from "@preact/signals";
import type { LiveView } from "../api/view";
import { type CoreOrder, CoreStrips } from "../components/CoreStrips";
import { Panel, SignalChoice } from "../components/Panel";
import { FIRST_SECOND } from "../components/words";

const ORDERS = [
  ["core", "By core"],
  ["busiest", "Busiest first"],
] as const;

interface Props {
  view: Pick<LiveView, "shown" | "version">;
  /** Busy share of each core in the newest second; empty when there is none, undefined before the first second. */
  cores: readonly number[] | undefined;
  /** Why there is none: of a node that is silent. */
  absent?: string | undefined;
}

export function CoresPanel({ view, cores, absent }: Props) {
  const order = useSignal<CoreOrder>("core");
  return (
    <Panel
      title="CPU per core"
      note="one strip each, stronger colour is busier"
      width={8}
      class="stacked"
      controls={
        <>
          <span class="rampi">
            <span>0</span>
            <i />
            <span>100%</span>
          </span>
          <SignalChoice label="Order" signal={order} options={ORDERS} />
        </>
      }
    >
      {cores && cores.length > 0 ? (
        <CoreStrips view={view} cores={cores} order={order.value} />
      ) : (
        <p class="absent">{absent ?? (cores ? "No per-core data in this second." : FIRST_SECOND)}</p>
      )}
    </Panel>
  );
}

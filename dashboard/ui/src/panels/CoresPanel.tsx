/** The panel around the core strips. */
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { LiveView } from "../api/view";
import { ChartPanel } from "../components/ChartPanel";
import { type CoreOrder, CoreStrips } from "../components/CoreStrips";
import type { Series } from "../components/chart/spec";
import { Panel, SignalChoice } from "../components/Panel";
import { FIRST_SECOND } from "../components/words";
import { past } from "../state/timeline";
import { SCALES } from "./table";

const ORDERS = [
  ["core", "By core"],
  ["busiest", "Busiest first"],
] as const;

interface Props {
  view: Pick<LiveView, "shown" | "version" | "status" | "nodeId" | "group">;
  /** Busy share of each core in the newest second; empty when there is none, undefined before the first second. */
  cores: readonly number[] | undefined;
  /** Why there is none: of a node that is silent. */
  absent?: string | undefined;
}

/** Fewer cores are lines: strips of a few would be slabs of one colour. */
const STRIPS_FROM = 5;
const COLORS = ["c-h2", "c-h3", "c-grpc", "c-h1"] as const;
const LINES_HIGH = 150;

/** A few cores as lines, over the live time: history has no cores. */
function CoreLines({ view, cores }: Pick<Props, "view"> & { cores: readonly number[] }) {
  const series = useMemo(
    () =>
      cores.map(
        (_, i): Series => ({
          column: `core.${i}`,
          label: `core ${i}`,
          color: COLORS[i] ?? "c-other",
        }),
      ),
    [cores.length],
  );
  return (
    <ChartPanel
      {...SCALES.share}
      view={view}
      ranged
      title="CPU per core"
      note="share of each"
      width={8}
      height={LINES_HIGH}
      series={series}
      empty="No per-core data in this second."
    />
  );
}

export function CoresPanel({ view, cores, absent }: Props) {
  const order = useSignal<CoreOrder>("core");
  if (cores && cores.length > 0 && cores.length < STRIPS_FROM && past.value === null)
    return <CoreLines view={view} cores={cores} />;
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

/**
 * The panels over time, in their places until they are looked at: they are asked of history, and nobody pays for what stands
 * below the screen.
 */
import { useSignal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Panel } from "../components/Panel";
import { lazy } from "../lib/lazy";

const parts = lazy(() => import("../panels/overTime"));
type Parts = NonNullable<typeof parts.part.value>;
/** Of a node or a group; of the whole cluster without. */
type Whose = { node?: string; group?: string };

/** How far below the screen a panel may be and count as looked at. */
const NEAR = "150px";

interface Props {
  title: string;
  width: 8 | 12;
  whose: Whose;
  pick: (parts: Parts) => ComponentType<Whose>;
}

function WhenSeen({ title, width, whose, pick }: Props) {
  const place = useRef<HTMLParagraphElement>(null);
  const seen = useSignal(false);
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const look = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        look.disconnect();
        seen.value = true;
        parts.load();
      },
      { rootMargin: NEAR },
    );
    look.observe(element);
    return () => look.disconnect();
  }, []);
  if (seen.value && parts.part.value) {
    const Part = pick(parts.part.value);
    return <Part {...whose} />;
  }
  return (
    <Panel title={title} width={width}>
      <p class="later" ref={place}>
        {parts.failed.value && (
          <button type="button" class="btn" onClick={() => window.location.reload()}>
            Load again
          </button>
        )}
      </p>
    </Panel>
  );
}

export function Heatmap(whose: Whose) {
  return <WhenSeen title="Performance heatmap" width={8} whose={whose} pick={(all) => all.HeatmapPanel} />;
}

export function History(whose: Whose) {
  return <WhenSeen title="Historical analysis" width={12} whose={whose} pick={(all) => all.HistoryPanel} />;
}

export function Processes({ node }: { node: string }) {
  return <WhenSeen title="Processes now" width={12} whose={{ node }} pick={(all) => all.ProcessesPanel} />;
}

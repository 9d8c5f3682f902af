/** The past that a chart shows instead of live data, read again when the window of the page moves on. */
import { useSignalEffect } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { PastView } from "../../api/past";
import { beat } from "../../state/page";
import { past } from "../../state/timeline";

/** A question that failed is asked again after so many seconds. */
const AGAIN_AFTER = 10;

/** Null while the page is live, and for a view that follows the range of the page by itself. */
export function usePast(
  { nodeId: node, group }: { nodeId: string; group: string },
  columns: readonly string[],
  byItself: boolean,
): PastView | null {
  const names = columns.join(",");
  const shown = past.value !== null && !byItself;
  const view = useMemo(
    () => (shown ? new PastView({ node, group }, names.split(",")) : null),
    [shown, node, group, names],
  );
  useEffect(() => () => view?.stop(), [view]);
  useSignalEffect(() => {
    const window = past.value;
    if (window !== null) void view?.read(window);
  });
  // Counted in beats, which stand still with the page.
  useSignalEffect(() => {
    const window = past.peek();
    if (beat.value % AGAIN_AFTER === 0 && window !== null && view?.problem.peek()) void view.read(window);
  });
  return view;
}

/** Views that live as long as the page that shows them. */
import { useEffect, useMemo } from "preact/hooks";
import type { Fleet } from "../api/fleet";
import type { LiveView } from "../api/view";
import type { NodeDetail, Overview } from "../gen/starling/live/v1/live_pb";
import { live } from "../state/page";

/** The fleet, while the component is shown. */
export function useHosts(): LiveView<Fleet> {
  const view = useMemo(() => live.hosts(), []);
  useEffect(() => () => live.release(view), [view]);
  return view;
}

/** The overview of a group, or of all without one, while the component is shown. */
export function useOverview(group: string): LiveView<Overview> {
  const view = useMemo(() => (group === "" ? live.overview : live.group(group)), [group]);
  useEffect(() => (group === "" ? undefined : () => live.release(view)), [view, group]);
  return view;
}

/** One node, while the component is shown. */
export function useNode(id: string): LiveView<NodeDetail> {
  const view = useMemo(() => live.node(id), [id]);
  useEffect(() => () => live.release(view), [view]);
  return view;
}

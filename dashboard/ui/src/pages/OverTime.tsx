/** The panels over time, in their places while they are loaded. */
import { useEffect } from "preact/hooks";
import { Absent, Panel } from "../components/Panel";
import { lazy } from "../lib/lazy";

const { part: analysis, load: loadAnalysis } = lazy(() => import("./analysis"));

const LOADING = "Loading.";

export function Heatmap({ node, width = 8 }: { node?: string; width?: 8 | 12 }) {
  useEffect(loadAnalysis, []);
  const parts = analysis.value;
  const title = "Performance heatmap";
  if (parts) return <parts.HeatmapPanel width={width} {...(node === undefined ? {} : { node })} />;
  return width === 8 ? <Absent title={title} what={LOADING} width={8} /> : <Loading title={title} />;
}

export function History({ node }: { node?: string }) {
  useEffect(loadAnalysis, []);
  const parts = analysis.value;
  if (parts) return <parts.HistoryPanel {...(node === undefined ? {} : { node })} />;
  return <Loading title="Historical analysis" />;
}

function Loading({ title }: { title: string }) {
  return (
    <Panel title={title} width={12}>
      <p class="absent">{LOADING}</p>
    </Panel>
  );
}

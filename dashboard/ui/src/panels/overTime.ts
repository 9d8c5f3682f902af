/** What is loaded after the first page because it is asked for when it is looked at: the panels over time, the chart of an alert, processes. */
export { AlertChart } from "./AlertChart";
export { HeatmapPanel } from "./HeatmapPanel";
export { HistoryPanel } from "./HistoryPanel";
export { ProcessesPanel } from "./ProcessesPanel";

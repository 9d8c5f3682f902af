/** What is loaded after the first page because it is asked of history: the panels over time, and the chart of an alert. */
export { AlertChart } from "./AlertChart";
export { HeatmapPanel } from "./HeatmapPanel";
export { HistoryPanel } from "./HistoryPanel";

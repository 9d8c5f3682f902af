/** What is loaded after the first page because it is asked of history: the panels over time. */
export { HeatmapPanel } from "../panels/HeatmapPanel";
export { HistoryPanel } from "../panels/HistoryPanel";

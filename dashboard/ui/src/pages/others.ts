/** The pages that are loaded after the first one, and what only a single host's overview shows. */
export { AlertsPage } from "./Alerts";
export { ClusterPage } from "./Cluster";
export { NodePage } from "./Node";
export { NodesPage } from "./Nodes";
export { OneHost } from "./OneHost";

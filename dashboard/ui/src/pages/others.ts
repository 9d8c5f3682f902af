/** The pages that are loaded after the first one. */
export { ClusterPage } from "./Cluster";
export { NodePage } from "./Node";
export { NodesPage } from "./Nodes";

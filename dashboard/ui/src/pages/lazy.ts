/** What is loaded after the first page: the other pages, and parts of the first one that few clusters need. */
import { lazy } from "../lib/lazy";

export type Pages = typeof import("./others");

const all = lazy(() => import("./others"));

/** Null until loaded. */
export const others = all.part;
/** The server did not give them. */
export const failed = all.failed;
/** Loads them, once. */
export const loadOthers = all.load;

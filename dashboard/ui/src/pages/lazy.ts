/** What is loaded after the first page: the other pages, and parts of the first one that few clusters need. */
import { lazy } from "../lib/lazy";

export type Pages = typeof import("./others");

const all = lazy(() => import("./others"));

/** The other pages. */
export const otherPages = all;
/** What applications do, which a page of its own says. */
export const trafficPages = lazy(() => import("./Traffic"));
/** Any series. */
export const explorePages = lazy(() => import("./Explore"));
/** How the page is wanted. */
export const settingsPages = lazy(() => import("./Settings"));
/** What any metric was like. */
export const historyPages = lazy(() => import("./History"));
/** Null until loaded. */
export const others = all.part;
/** Loads them, once. */
export const loadOthers = all.load;

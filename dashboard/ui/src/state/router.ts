/** Addresses: the path chooses the page, the query holds what the page shows. */
import { computed, signal } from "@preact/signals";
import { options } from "preact";
import { BASE, below } from "../lib/base";

const here = signal(place());

export const path = computed(() => here.value.path);
export const query = computed(() => new URLSearchParams(here.value.search));

function read(): void {
  here.value = place();
}

/** A slash at the end is typed, not meant. */
function place() {
  const { search } = window.location;
  const pathname = below(BASE, window.location.pathname);
  return { path: pathname.length > 1 ? pathname.replace(/\/+$/, "") || "/" : pathname, search };
}

/** Query parameters that survive a change of page: the time that is looked at, and how the map is drawn. */
const KEPT = ["at", "range", "from", "to", "granularity", "zoom", "paused", "fill", "by"] as const;

/** Another address for what is shown, without a step in the history. */
export function replaceHere(href: string): void {
  window.history.replaceState(null, "", href);
  read();
}

/** Goes to an address of this page. */
export function navigate(to: string): void {
  const url = new URL(BASE + to, window.location.href);
  // An address that says its own time has all of it.
  const own = url.searchParams.has("range");
  for (const key of KEPT) {
    const v = query.peek().get(key);
    if (v !== null && !own && !url.searchParams.has(key)) url.searchParams.set(key, v);
  }
  window.history.pushState(null, "", url);
  read();
  window.scrollTo(0, 0);
}

/** Changes query parameters as a step in the history: Back leads to what was shown before. */
export function navigateHere(changes: Record<string, string | null>): void {
  const url = new URL(window.location.href);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) url.searchParams.delete(key);
    else url.searchParams.set(key, value);
  }
  if (url.href === window.location.href) return;
  window.history.pushState(null, "", url);
  read();
}

/** Changes a query parameter that stands several times, as a step in the history. */
export function navigateHereAll(key: string, values: readonly string[]): void {
  const url = new URL(window.location.href);
  url.searchParams.delete(key);
  for (const value of values) url.searchParams.append(key, value);
  if (url.href === window.location.href) return;
  window.history.pushState(null, "", url);
  read();
}

/** Changes one query parameter in place, without a step in the history. */
export function setQuery(key: string, value: string | null): void {
  const url = new URL(window.location.href);
  if (value === null || value === "") url.searchParams.delete(key);
  else url.searchParams.set(key, value);
  window.history.replaceState(null, "", url);
  read();
}

/** Address of a node's page. */
export function nodeHref(id: string): string {
  return `/nodes/${encodeURIComponent(id)}`;
}

/** Lets plain clicks on links of this page change the page without loading it. */
export function startRouter(): void {
  if (BASE !== "") {
    // Every link of the page says its path without what stands before all of them.
    const { vnode } = options;
    options.vnode = (made) => {
      const props = made.props as { href?: unknown };
      if (made.type === "a" && String(props.href).startsWith("/")) props.href = BASE + props.href;
      vnode?.(made);
    };
  }
  window.addEventListener("popstate", read);
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey)
      return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (link?.target !== "" || link.origin !== window.location.origin) return;
    if (link.hash !== "" || link.hasAttribute("download")) return;
    event.preventDefault();
    navigate(below(BASE, link.pathname) + link.search);
  });
}

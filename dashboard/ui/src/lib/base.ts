/** What stands before every path of this page: "" or "/prefix", as its own script was fetched. */
export const BASE = import.meta.env.PROD ? baseOf(import.meta.url) : "";

/** Of the address of a script of the build, which lies in `assets`. */
export function baseOf(script: string): string {
  return new URL(script).pathname.replace(/\/assets\/[^/]*$/, "");
}

/** A path without what stands before it; "/" for the page itself. */
export function below(base: string, path: string): string {
  return path.startsWith(`${base}/`) ? path.slice(base.length) : path === base ? "/" : path;
}

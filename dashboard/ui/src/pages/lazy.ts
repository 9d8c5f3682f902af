/** What is loaded after the first page: the other pages, and parts of the first one that few clusters need. */
import { signal } from "@preact/signals";

export type Pages = typeof import("./others");

/** Null until loaded. */
export const others = signal<Pages | null>(null);
/** The server did not give them. */
export const failed = signal(false);

/** Loads them, once. */
export function loadOthers(): void {
  if (others.peek() !== null) return;
  import("./others").then(
    (m) => {
      others.value = m;
      failed.value = false;
    },
    () => {
      failed.value = true;
    },
  );
}

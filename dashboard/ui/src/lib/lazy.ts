/** A part of the page that is fetched after the first one, once. */
import { type ReadonlySignal, signal } from "@preact/signals";

export interface Lazy<T> {
  /** Null until loaded. */
  readonly part: ReadonlySignal<T | null>;
  /** The server did not give it: it was upgraded while this page was open, and its parts have new names. */
  readonly failed: ReadonlySignal<boolean>;
  /** Loads it unless it is there or on its way; after a failure asks again. */
  load(): void;
}

export function lazy<T>(fetch: () => Promise<T>): Lazy<T> {
  const part = signal<T | null>(null);
  const failed = signal(false);
  let coming = false;
  return {
    part,
    failed,
    load() {
      if (coming || part.peek() !== null) return;
      coming = true;
      fetch().then(
        (loaded) => {
          part.value = loaded;
          failed.value = false;
        },
        () => {
          coming = false;
          failed.value = true;
        },
      );
    },
  };
}

/** Choices of the person at this browser, kept in its storage. Storage can be forbidden: a choice then lasts for this visit. */
import { type ReadonlySignal, signal } from "@preact/signals";

/** What stands before the name of every choice. */
const PREFIX = "starling.";

export interface Choice<T> {
  readonly value: ReadonlySignal<T>;
  /** Null takes back the choice. */
  choose(value: T | null): void;
}

const all: { forget: () => void }[] = [];

/** A choice by its name. `read` gives null for a text that means nothing, as one of a later version does. */
export function choice<T extends string>(
  name: string,
  read: (text: string) => T | null,
  usual: T,
): Choice<T> {
  const value = signal(readText(name, read) ?? usual);
  const choose = (next: T | null) => {
    value.value = next ?? usual;
    write(name, next);
  };
  all.push({ forget: () => choose(null) });
  return { value, choose };
}

/** One of a few words. */
export const oneOf =
  <T extends string>(words: readonly T[]) =>
  (text: string): T | null =>
    words.find((word) => word === text) ?? null;

/** Takes back all choices. */
export function forgetAll(): void {
  for (const { forget } of all) forget();
}

/** Whether the browser keeps what is chosen. */
export function keeps(): boolean {
  try {
    const key = `${PREFIX}kept`;
    window.localStorage.setItem(key, "yes");
    window.localStorage.removeItem(key);
    return true;
  } catch {
    return false;
  }
}

function readText<T>(name: string, read: (text: string) => T | null): T | null {
  try {
    const text = window.localStorage.getItem(PREFIX + name);
    return text === null ? null : read(text);
  } catch {
    return null;
  }
}

function write(name: string, text: string | null): void {
  try {
    if (text === null) window.localStorage.removeItem(PREFIX + name);
    else window.localStorage.setItem(PREFIX + name, text);
  } catch {
    // As above.
  }
}

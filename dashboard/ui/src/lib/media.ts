/** Whether the window has a property, followed while it changes. */
import { type ReadonlySignal, signal } from "@preact/signals";

export function media(query: string): ReadonlySignal<boolean> {
  const list = window.matchMedia(query);
  const value = signal(list.matches);
  list.addEventListener("change", () => {
    value.value = list.matches;
  });
  return value;
}

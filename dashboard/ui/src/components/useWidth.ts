import { type Signal, useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect } from "preact/hooks";

/** Width of what is drawn into, in CSS pixels: 0 before it is laid out. */
export function useWidth(host: RefObject<HTMLElement | null>): Signal<number> {
  const width = useSignal(0);
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const resize = new ResizeObserver(() => {
      width.value = element.clientWidth;
    });
    resize.observe(element);
    return () => resize.disconnect();
  }, []);
  return width;
}

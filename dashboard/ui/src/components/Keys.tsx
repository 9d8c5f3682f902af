/** Keyboard shortcuts and their list. */
import type { Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { live } from "../state/page";
import { navigate, nodeHref, path } from "../state/router";
import { toggleTheme } from "../state/theme";
import { pan, past, pin, range, resume, stepCursor, togglePause, zoom, zoomBy } from "../state/timeline";

/** A second key of a two-key shortcut must follow within this time, milliseconds. */
const CHORD_MS = 1_200;

const GO: Record<string, string> = {
  o: "/",
  n: "/nodes",
  t: "/traffic",
  a: "/alerts",
  h: "/history",
  e: "/explore",
  c: "/cluster",
  ",": "/settings",
};

const LIST = [
  ["/", "Find node"],
  ["g then o, n, t, a", "Overview, Nodes, Latency and traffic, Alerts"],
  ["g then h, e, c, comma", "History, Explore, Cluster, Settings"],
  ["Space", "Pause and go on"],
  [".", "Back to live"],
  ["← →", "Move the crosshair by a point, with Shift by ten"],
  ["t", "Range of time"],
  ["+ −", "Zoom in and out"],
  ["[ ]", "Previous and next node"],
  ["Esc", "Free the crosshair, leave the zoom, close"],
  ["d", "Dark or light"],
  ["?", "This list"],
] as const;

/** True when a key belongs to what has the focus. */
function taken(target: EventTarget | null, key: string): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.matches("input, select, textarea, [contenteditable]")) return true;
  return key === " " && target.matches("button, a, summary");
}

/** Neighbours of the node that is shown, by name. */
function neighbour(which: "previousNodeId" | "nextNodeId"): string {
  const match = /^\/nodes\/(.+)$/.exec(path.peek());
  if (!match) return "";
  const view = live.node(decodeURIComponent(match[1] as string));
  const id = view.state.peek()?.[which] ?? "";
  live.release(view);
  return id;
}

/** Listens while the page is shown. */
export function useKeys(toggleHelp: () => void): void {
  useEffect(() => {
    // When the first key of a two-key shortcut was taken; not when it was pressed: a busy page takes it later, and that
    // time is not the person's.
    let chord = Number.NEGATIVE_INFINITY;
    const listen = (e: KeyboardEvent) => {
      if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || taken(e.target, e.key)) return;
      // An open dialog has the keys, Escape among them.
      if (document.querySelector("dialog[open]")) return;
      const goes = e.timeStamp - chord < CHORD_MS ? GO[e.key] : undefined;
      chord = Number.NEGATIVE_INFINITY;
      if (goes) {
        navigate(goes);
        return;
      }
      switch (e.key) {
        case "g":
          chord = performance.now();
          return;
        case "/":
          document.getElementById("find")?.focus();
          break;
        case " ":
          togglePause();
          break;
        case ".":
          pin(null);
          resume();
          break;
        case "[":
        case "]": {
          const id = neighbour(e.key === "[" ? "previousNodeId" : "nextNodeId");
          if (id === "") return;
          navigate(nodeHref(id));
          break;
        }
        case "t":
          document.querySelector<HTMLElement>('.times [aria-pressed="true"]')?.focus();
          break;
        case "+":
        case "=":
          zoomBy(0.5);
          break;
        case "-":
          if (zoom.peek() || past.peek()) zoomBy(2);
          break;
        case "ArrowLeft":
        case "ArrowRight": {
          const by = (e.key === "ArrowLeft" ? -1 : 1) * (e.shiftKey ? 10 : 1);
          if (zoom.peek() && e.shiftKey) pan(by * Math.ceil((range.peek().to - range.peek().from) / 100));
          else stepCursor(by);
          break;
        }
        case "Escape":
          pin(null);
          if (zoom.peek()) resume();
          break;
        case "d":
          toggleTheme();
          break;
        case "?":
          toggleHelp();
          break;
        default:
          return;
      }
      e.preventDefault();
    };
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, []);
}

export function ShortcutList({ open }: { open: Signal<boolean> }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const on = open.value;
  useEffect(() => {
    if (on) dialog.current?.showModal();
    else dialog.current?.close();
  }, [on]);
  return (
    <dialog
      ref={dialog}
      class="help"
      aria-labelledby="help-title"
      onClose={() => {
        open.value = false;
      }}
    >
      <h2 id="help-title">Keyboard shortcuts</h2>
      <dl>
        {LIST.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <form method="dialog">
        <button type="submit" class="btn">
          Close
        </button>
      </form>
    </dialog>
  );
}

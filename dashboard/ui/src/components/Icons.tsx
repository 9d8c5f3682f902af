/** Drawn marks. A severity has a shape; its colour only repeats it. */
import type { JSX } from "preact";
import { Severity } from "../gen/starling/live/v1/live_pb";

export type Mark = "critical" | "error" | "warning" | "info" | "ok" | "silent" | "stopped";

// Functions, because an element that is kept holds on to the tree it was first drawn in, and that one to all later ones.
const MARKS: Record<Mark, () => JSX.Element> = {
  critical: () => (
    <>
      <rect x="1" y="1" width="10" height="10" rx="1.5" fill="var(--crit-f)" />
      <path d="M6 3.2v3.6M6 8.7v.1" stroke="var(--surface)" stroke-width="1.5" stroke-linecap="round" />
    </>
  ),
  error: () => <path d="M6 .6 11.4 6 6 11.4.6 6z" fill="var(--error-f)" />,
  warning: () => <path d="M6 1 11.6 11H.4z" fill="var(--warn-f)" />,
  info: () => (
    <>
      <circle cx="6" cy="6" r="5" fill="none" stroke="var(--info-f)" stroke-width="1.5" />
      <path d="M6 5.6v2.8M6 3.6v.1" stroke="var(--info-f)" stroke-width="1.5" stroke-linecap="round" />
    </>
  ),
  ok: () => (
    <path
      d="M1.8 6.4 4.8 9.4 10.2 3"
      fill="none"
      stroke="var(--ok-f)"
      stroke-width="1.8"
      stroke-linecap="round"
      stroke-linejoin="round"
    />
  ),
  silent: () => (
    <circle
      cx="6"
      cy="6"
      r="4.6"
      fill="none"
      stroke="var(--text-3)"
      stroke-width="1.5"
      stroke-dasharray="2.4 2"
    />
  ),
  stopped: () => (
    <>
      <rect x="1" y="1" width="10" height="10" rx="2" fill="none" stroke="var(--text-3)" stroke-width="1.4" />
      <path d="M4 6h4" stroke="var(--text-3)" stroke-width="1.6" />
    </>
  ),
};

/** A status mark, 12 px. Decorative: the word stands beside it. */
export function StatusMark({ mark }: { mark: Mark }) {
  return (
    <svg class="i" viewBox="0 0 12 12" aria-hidden="true">
      {MARKS[mark]()}
    </svg>
  );
}

/** The mark of an alert's severity, by its word. */
export function alertMark(severity: string): Mark {
  switch (severity) {
    case "info":
    case "warning":
    case "error":
    case "critical":
      return severity;
    default:
      return "silent";
  }
}

/** Mark and text colour of a severity. */
export function severityMark(s: Severity): { mark: Mark; tone: string } {
  switch (s) {
    case Severity.OK:
      return { mark: "ok", tone: "ok" };
    case Severity.INFO:
      return { mark: "info", tone: "inf" };
    case Severity.WARNING:
      return { mark: "warning", tone: "warn" };
    case Severity.ERROR:
      return { mark: "error", tone: "err" };
    case Severity.CRITICAL:
      return { mark: "critical", tone: "crit" };
    default:
      return { mark: "silent", tone: "mute" };
  }
}

const GLYPHS = {
  overview: () => (
    <>
      <rect x="2" y="2" width="5" height="6" rx="1" />
      <rect x="9" y="2" width="5" height="3.5" rx="1" />
      <rect x="2" y="10.5" width="5" height="3.5" rx="1" />
      <rect x="9" y="8" width="5" height="6" rx="1" />
    </>
  ),
  nodes: () => (
    <path
      d="M2.5 2.5h3v3h-3zM6.5 2.5h3v3h-3zM10.5 2.5h3v3h-3zM2.5 6.5h3v3h-3zM6.5 6.5h3v3h-3zM10.5 6.5h3v3h-3zM2.5 10.5h3v3h-3zM6.5 10.5h3v3h-3zM10.5 10.5h3v3h-3z"
      stroke-width="1"
    />
  ),
  traffic: () => <path d="M2 13.5v-3M5 13.5V8M8 13.5V3.5M11 13.5V6M14 13.5v-2.5" />,
  explore: () => <path d="M2 2.5v11h12M4.5 10.5 7 7l2.5 2 4-5.5M11 3.5h2.5V6" />,
  history: () => <path d="M2.6 5.2a6 6 0 1 1-.5 4M2.2 2.2v3.2h3.2M8 4.8V8.3l2.4 1.5" />,
  settings: () => <path d="M2 4.5h5M11 4.5h3M2 11.5h3M9 11.5h5M9 2.8v3.4M7 9.8v3.4" />,
  cluster: () => (
    <>
      <circle cx="8" cy="3.5" r="1.8" />
      <circle cx="3.5" cy="12" r="1.8" />
      <circle cx="12.5" cy="12" r="1.8" />
      <path d="M7.2 5.2 4.4 10.4M8.8 5.2l2.8 5.2M5.4 12h5.2" />
    </>
  ),
  alerts: () => (
    <path d="M8 2a4 4 0 0 0-4 4v2.6L2.6 11.5h10.8L12 8.6V6a4 4 0 0 0-4-4zM6.6 13.6a1.5 1.5 0 0 0 2.8 0" />
  ),
  link: () => (
    <path d="M6.8 9.2a2.6 2.6 0 0 0 3.7 0l2.4-2.4a2.6 2.6 0 0 0-3.7-3.7l-.9.9M9.2 6.8a2.6 2.6 0 0 0-3.7 0L3.1 9.2a2.6 2.6 0 0 0 3.7 3.7l.9-.9" />
  ),
  theme: () => (
    <>
      <circle cx="8" cy="8" r="5.5" />
      <path d="M8 2.5v11a5.5 5.5 0 0 0 0-11z" fill="currentColor" stroke="none" />
    </>
  ),
  table: () => <path d="M2 3.5h12v9H2zM2 6.5h12M2 9.5h12M6.5 3.5v9" />,
  chart: () => <path d="M2 2.5v11h12M4.5 10l3-3.5 2.5 2 3.5-4.5" />,
  more: () => <path d="M3 8h.1M8 8h.1M13 8h.1" stroke-width="2.6" />,
  search: () => (
    <>
      <circle cx="7" cy="7" r="4.3" />
      <path d="m10.3 10.3 3.4 3.4" />
    </>
  ),
  pause: () => <path d="M5 3.5v9M11 3.5v9" stroke-width="2.4" />,
  play: () => <path d="M5 3.2v9.6l7.4-4.8z" fill="currentColor" />,
  cross: () => <path d="M8 1v14M1 8h14" stroke-dasharray="2.4 2" />,
} satisfies Record<string, () => JSX.Element>;

export type GlyphName = keyof typeof GLYPHS;

/** A control's picture, 16 px. */
export function Glyph({ name }: { name: GlyphName }) {
  return (
    <svg class="g" viewBox="0 0 16 16" aria-hidden="true">
      {GLYPHS[name]()}
    </svg>
  );
}

/** The bird. */
export function Logo() {
  return (
    <svg
      viewBox="0 0 24 24"
      fill="none"
      stroke-width="2.2"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d="M2.5 9.5c2.8-2.6 5.6-2.2 7.2 1.3 1.8-4 5.5-5.6 9.8-4.6" stroke="var(--c-h2)" />
      <path d="M8.5 16.2c1.7-1.6 3.6-1.3 4.6.8 1.2-2.6 3.7-3.5 6.4-2.7" stroke="var(--c-h3)" />
      <path d="M4.2 19.8c.9-.9 1.9-.7 2.5.4.6-1.3 1.9-1.8 3.4-1.4" stroke="var(--c-ws)" stroke-width="1.8" />
    </svg>
  );
}

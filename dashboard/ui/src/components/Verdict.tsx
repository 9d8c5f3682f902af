/** The first line: the state in one sentence, with links to what causes it. */
import { effect, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Severity, type Verdict as VerdictMessage } from "../gen/starling/live/v1/live_pb";
import { clock } from "../lib/format";
import { newest, standing } from "../state/page";
import { nodeHref } from "../state/router";
import { StatusMark, severityMark } from "./Icons";

/** Changes are announced at most this often, milliseconds. */
const ANNOUNCE_EVERY_MS = 10_000;

interface Props {
  verdict: VerdictMessage | undefined;
  /** Said when there is no verdict yet. */
  waiting: string;
  label: string;
  children?: ComponentChildren;
}

export function Verdict({ verdict, waiting, label, children }: Props) {
  // What was well when data stopped may not be well now.
  const stale = verdict !== undefined && standing.value === "stale";
  const { mark, tone } = severityMark((!stale && verdict?.severity) || Severity.UNSPECIFIED);
  const past = stale ? `As of ${clock(newest.value)}: ` : "";
  const word = stale ? "Stale" : verdict?.word;
  // Values move each second; what is spoken changes with the word and with what is wrong.
  const causes = `${word}|${(verdict?.parts ?? []).map((p) => p.episodeId || p.nodeId || p.text.replace(/[0-9.,]+/g, "#")).join("|")}`;
  const sentence = verdict ? `${word}. ${past}${verdict.parts.map((p) => p.text).join("")}` : waiting;
  const line = useRef<HTMLParagraphElement>(null);
  const whole = useSignal(false);
  const cut = useSignal(false);
  // It stays one line, so that nothing below it moves; what has no room is unfolded by choice.
  useEffect(() => {
    const element = line.current;
    if (!element) return;
    const look = () => {
      if (!whole.peek())
        cut.value =
          element.scrollWidth > element.clientWidth + 1 || element.scrollHeight > element.clientHeight + 1;
    };
    look();
    const resize = new ResizeObserver(look);
    resize.observe(element);
    return () => resize.disconnect();
  }, [sentence]);
  return (
    <section class={whole.value ? "verdict whole" : "verdict"} aria-label={label}>
      <span class={`state ${tone}`}>
        <StatusMark mark={mark} />
        {word ?? "No data"}
      </span>
      <p
        ref={line}
        // A link that has the focus is seen.
        onFocusIn={() => {
          if (cut.value) whole.value = true;
        }}
      >
        {past}
        {verdict
          ? verdict.parts.map((part, i) =>
              part.nodeId === "" ? (
                part.text
              ) : (
                <a key={i} href={nodeHref(part.nodeId)}>
                  {part.text}
                </a>
              ),
            )
          : waiting}
      </p>
      {(cut.value || whole.value) && (
        <button
          type="button"
          class="btn s"
          aria-expanded={whole.value}
          onClick={() => {
            whole.value = !whole.value;
          }}
        >
          {whole.value ? "Less" : "All causes"}
        </button>
      )}
      {children}
      <Announcer text={sentence} causes={causes} />
    </section>
  );
}

/** Speaks the sentence when what causes it has changed, but not each second. */
function Announcer({ text, causes }: { text: string; causes: string }) {
  const spoken = useSignal("");
  const latest = useRef(text);
  latest.current = text;
  const wanted = useSignal(causes);
  wanted.value = causes;
  const about = useRef("");
  const last = useRef(Number.NEGATIVE_INFINITY);
  useEffect(() => {
    let timer = 0;
    const stop = effect(() => {
      const next = wanted.value;
      window.clearTimeout(timer);
      if (next === about.current) return;
      const wait = Math.max(0, last.current + ANNOUNCE_EVERY_MS - performance.now());
      timer = window.setTimeout(() => {
        last.current = performance.now();
        about.current = next;
        spoken.value = latest.current;
      }, wait);
    });
    return () => {
      stop();
      window.clearTimeout(timer);
    };
  }, []);
  return (
    <span class="sr" role="status">
      {spoken.value}
    </span>
  );
}

/** An answer of the JSON endpoints, read again when the question changes. */
import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ask, problemOf } from "../api/ask";
import { refreshEvery } from "../lib/refresh";
import { beat } from "../state/page";

type Parameters = Record<string, string | number | undefined>;

/** Seconds after which a question that failed is asked again. */
const AGAIN_AFTER = 10;

interface Read<T> {
  answer: T | null;
  /** Why there is no newer answer; null when there is. */
  problem: string | null;
}

interface When {
  /** Asked again after so many seconds, or more when an answer takes long. */
  every?: number | undefined;
  /** Asked again at once when this changes. */
  changes?: number;
}

/** The last answer about `subject`, kept while the next one is read. */
export function useAnswer<T>(
  subject: string,
  path: string,
  parameters: Parameters,
  { every, changes }: When = {},
): Read<T> {
  const nothing = { subject, answer: null, problem: null };
  const state: Signal<Read<T> & { subject: string }> = useSignal(nothing);
  const key = JSON.stringify([path, parameters]);
  const failed = state.value.problem !== null;
  // How long the last answer took, milliseconds; when it was asked last, in beats, and how often.
  const took = useRef(0);
  const asked = useRef({ at: 0, times: 0 });
  const period = failed ? AGAIN_AFTER : every === undefined ? undefined : refreshEvery(every, took.current);
  // Else the beat does not matter.
  if (period !== undefined && beat.value - asked.current.at >= period) {
    asked.current = { at: beat.value, times: asked.current.times + 1 };
  }
  const attempt = asked.current.times;
  // The key holds path and parameters.
  useEffect(() => {
    const mine = new AbortController();
    const began = performance.now();
    ask<T>(path, parameters, mine.signal).then(
      (answer) => {
        took.current = performance.now() - began;
        state.value = { subject, answer, problem: null };
      },
      (error) => {
        if (mine.signal.aborted) return;
        const problem = problemOf(error);
        const before = state.peek();
        state.value = { ...(before.subject === subject ? before : nothing), problem };
      },
    );
    return () => mine.abort();
  }, [key, attempt, changes]);
  return state.value.subject === subject ? state.value : nothing;
}

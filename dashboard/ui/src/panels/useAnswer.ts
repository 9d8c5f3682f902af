/** An answer of the JSON endpoints, read again when the question changes. */
import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ask, problemOf } from "../api/ask";
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
  /** Asked again after so many seconds. */
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
  // Else the beat does not matter.
  const period = failed ? AGAIN_AFTER : every;
  const attempt = period === undefined ? 0 : Math.floor(beat.value / period);
  // The key holds path and parameters.
  useEffect(() => {
    const mine = new AbortController();
    ask<T>(path, parameters, mine.signal).then(
      (answer) => {
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

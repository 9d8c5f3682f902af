/** What is said of the TCP connections of the last minute: events, and no part of the sockets that are open now. */
import type { Attempts } from "../gen/starling/live/v1/live_pb";
import { grouped, known } from "./format";

/** One sentence; null when nothing was reported. */
export function attemptsText(
  attempts: Pick<Attempts, "opened" | "failed" | "reset"> | undefined,
): string | null {
  const { opened, failed, reset } = attempts ?? {};
  if (!known(failed)) return null;
  const of = known(opened) ? ` of ${grouped(opened)} tried` : "";
  if (failed === 0) return `Last minute: none failed${of}.`;
  // The nodes count a minute of their own; by a second or two the part may be more than the whole.
  const broken = known(reset) ? Math.min(reset, failed) : Number.NaN;
  const kinds = [
    [failed - broken, "refused or unanswered"],
    [broken, "reset when open"],
  ] as const;
  const said = kinds.filter(([n]) => n >= 0.5).map(([n, what]) => `${grouped(n)} ${what}`);
  return `Last minute: ${grouped(failed)} failed${of}${said.length > 0 ? `: ${said.join(", ")}` : ""}.`;
}

/** How seldom applications report. */
import { known, type Maybe, span, THIN } from "./format";

/** Up to so many seconds an interval is said in seconds, as it is set. */
const IN_SECONDS = 120;

/** "reported every 60 s"; undefined when all report each second. */
export function everyText(seconds: Maybe): string | undefined {
  if (!known(seconds) || seconds <= 1) return undefined;
  const whole = Math.round(seconds);
  return `reported every ${whole <= IN_SECONDS ? `${whole}${THIN}s` : span(whole)}`;
}

/** First retry waits at most this long, milliseconds. */
export const RETRY_BASE_MS = 500;
/** No retry waits longer, milliseconds. */
export const RETRY_CAP_MS = 15_000;
/** Nor shorter: a server that refuses at once must not be hammered. */
export const RETRY_FLOOR_MS = 100;

/**
 * Delay before try number `attempt` (from 1), full jitter: anywhere between the floor and the doubling limit, so that
 * a restarted server is not met by every page in the same moment.
 */
export function retryDelay(attempt: number, random: number): number {
  const limit = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** Math.min(20, Math.max(0, attempt - 1)));
  return Math.max(RETRY_FLOOR_MS, Math.round(limit * random));
}

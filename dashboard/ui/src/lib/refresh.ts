/** How often something that is looked at is asked again. Pure. */

/** Part of the time that may be spent on answering one panel: an answer of a second is asked every ten. */
const SHARE = 0.1;

/** Seconds between two questions: as wanted, or more when an answer takes long (`took`, milliseconds). */
export function refreshEvery(wanted: number, took: number): number {
  return Math.max(wanted, Math.ceil(took / 1_000 / SHARE));
}

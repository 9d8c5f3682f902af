/** How the person at this browser wants the page: its clocks, its units and how dense it is. The theme stands in `theme.ts`. */
import { effect } from "@preact/signals";
import { units } from "../lib/format";
import { zone as clocks, isZone } from "../lib/zone";
import { choice, oneOf } from "./stored";

/** "local", "UTC" or a name of the IANA list. */
export const zone = choice<string>("zone", (text) => (isZone(text) ? text : null), "local");

export const BYTES = ["binary", "decimal"] as const;
/** Memory in KiB and MiB (1,024) or in kB and MB (1,000). */
export const bytes = choice("bytes", oneOf(BYTES), "binary");

export const NETWORK = ["bits", "bytes"] as const;
/** Networks in bit/s, as they are sold, or in bytes per second. */
export const network = choice("network", oneOf(NETWORK), "bits");

export const DENSITIES = ["usual", "compact"] as const;
export const density = choice("density", oneOf(DENSITIES), "usual");

/** Follows the choices from now on. */
export function startPreferences(): void {
  effect(() => {
    clocks.value = zone.value.value;
  });
  effect(() => {
    units.value = { bytes: bytes.value.value, network: network.value.value };
  });
  effect(() => {
    document.documentElement.dataset.density = density.value.value;
  });
}

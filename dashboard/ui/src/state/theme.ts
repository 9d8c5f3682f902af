/** Dark or light: the system's choice until the reader makes one. Also the colours for canvas drawing. */
import { computed, effect, signal } from "@preact/signals";
import { parseHex, pickTheme, type Rgb, rampTable } from "../lib/color";
import { flush } from "../lib/scheduler";
import { choice, oneOf } from "./stored";

export type Theme = "dark" | "light";

const system = window.matchMedia("(prefers-color-scheme: light)");
const systemTheme = signal<Theme>(system.matches ? "light" : "dark");

export const THEMES = ["system", "dark", "light"] as const;
/** "system" follows the setting of the device. */
export const chosenTheme = choice("theme", oneOf(THEMES), "system");
const chosen = computed(() => (chosenTheme.value.value === "system" ? null : chosenTheme.value.value));

/** On paper all is light, charts too: ink on white. */
const printing = signal(false);

export const theme = computed<Theme>(() => (printing.value ? "light" : (chosen.value ?? systemTheme.value)));

/** The other theme, remembered. */
export function toggleTheme(): void {
  chosenTheme.choose(theme.peek() === "dark" ? "light" : "dark");
}

/** Value of a colour token (without the dashes) in the current theme, for canvas drawing. */
export function token(name: string): string {
  const raw = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
  return pickTheme(raw, theme.value === "dark");
}

/** A token as a CSS value, for elements. */
export function cssVar(name: string): string {
  return `var(--${name})`;
}

/** The ramp of the host map and the core strips. */
export const ramp = computed<string[]>(() => {
  theme.value;
  return rampTable(Array.from({ length: 9 }, (_, i): Rgb => parseHex(token(`q${i}`))));
});

/** Follows the choice from now on. */
export function startTheme(): void {
  system.addEventListener("change", () => {
    systemTheme.value = system.matches ? "light" : "dark";
  });
  effect(() => {
    const set = printing.value ? "light" : chosen.value;
    if (set === null) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = set;
  });
  window.addEventListener("beforeprint", () => {
    printing.value = true;
    flush();
  });
  window.addEventListener("afterprint", () => {
    printing.value = false;
  });
}

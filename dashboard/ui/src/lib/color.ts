/** Colour arithmetic over the tokens. */

/** Red, green, blue, 0 to 255. */
export type Rgb = readonly [number, number, number];

/** Reads "#rrggbb". */
export function parseHex(hex: string): Rgb {
  const v = Number.parseInt(hex.trim().slice(1, 7), 16);
  return [(v >> 16) & 255, (v >> 8) & 255, v & 255];
}

/** The half of `light-dark(light, dark)` that applies; other values are returned as they are. */
export function pickTheme(value: string, dark: boolean): string {
  const m = /^\s*light-dark\(\s*([^,]+?)\s*,\s*([^)]+?)\s*\)\s*$/.exec(value);
  return (m ? (dark ? m[2] : m[1]) : value.trim()) as string;
}

/** Relative luminance (WCAG 2.2). */
export function luminance([r, g, b]: Rgb): number {
  const lin = (c: number) => {
    const s = c / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * lin(r) + 0.7152 * lin(g) + 0.0722 * lin(b);
}

/** Contrast ratio (WCAG 2.2), 1 to 21. */
export function contrast(a: Rgb, b: Rgb): number {
  const [x, y] = [luminance(a), luminance(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

/** Steps of a colour table made from a ramp. */
export const RAMP_STEPS = 65;

/** A table of CSS colours, evenly along the stops. */
export function rampTable(stops: readonly Rgb[]): string[] {
  return Array.from({ length: RAMP_STEPS }, (_, i) => {
    const at = (i / (RAMP_STEPS - 1)) * (stops.length - 1);
    const k = Math.min(stops.length - 2, Math.floor(at));
    const a = stops[k] as Rgb;
    const b = stops[k + 1] as Rgb;
    const mix = (j: 0 | 1 | 2) => Math.round(a[j] + (b[j] - a[j]) * (at - k));
    return `rgb(${mix(0)},${mix(1)},${mix(2)})`;
  });
}

/** Position 0 to 1 on a ramp table. */
export function onRamp(table: readonly string[], v: number): string {
  return table[Math.round(Math.min(1, Math.max(0, v)) * (table.length - 1))] as string;
}

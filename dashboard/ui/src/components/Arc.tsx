/** Rings and gauges. */
import { known } from "../lib/format";
import { cssVar } from "../state/theme";

/** A part of the whole, 0 to 1. */
export interface ArcPart {
  share: number | undefined;
  /** Colour token. */
  color: string;
}

interface Props {
  parts: readonly ArcPart[];
  size: number;
  height?: number;
  thick: number;
  /** Degrees: where it starts (0 is right, clockwise) and how far it goes. */
  from?: number;
  sweep?: number;
  /** Degrees between parts. */
  gap?: number;
  label: string;
  middle: string;
  middleY: number;
  middleSize: number;
  below: string;
}

export function Arc({ from = -90, sweep = 360, gap = 0, height, ...p }: Props) {
  const r = p.size / 2 - p.thick / 2 - 1;
  const c = p.size / 2;
  const point = (deg: number) => {
    const rad = (deg * Math.PI) / 180;
    return `${(c + r * Math.cos(rad)).toFixed(2)} ${(c + r * Math.sin(rad)).toFixed(2)}`;
  };
  const path = (a: number, b: number) => {
    // A full turn has the same start and end, which an arc cannot express.
    const end = Math.min(b, a + 359.9);
    return `M${point(a)}A${r} ${r} 0 ${end - a > 180 ? 1 : 0} 1 ${point(end)}`;
  };
  let at = from;
  return (
    <svg
      class="arc"
      width={p.size}
      height={height ?? p.size}
      viewBox={`0 0 ${p.size} ${height ?? p.size}`}
      role="img"
      aria-label={p.label}
    >
      <path d={path(from, from + sweep)} fill="none" stroke={cssVar("surface-2")} stroke-width={p.thick} />
      {p.parts.map((part) => {
        const share = known(part.share) ? Math.min(1, Math.max(0, part.share)) : 0;
        const a = at;
        at += sweep * share;
        if (share <= 0) return null;
        const end = Math.max(a + gap / 2 + 0.5, at - gap / 2);
        return (
          <path
            key={part.color}
            d={path(a + gap / 2, end)}
            fill="none"
            stroke={cssVar(part.color)}
            stroke-width={p.thick}
          />
        );
      })}
      <text x={c} y={p.middleY} text-anchor="middle" class="arc-mid" font-size={p.middleSize}>
        {p.middle}
      </text>
      <text x={c} y={p.middleY + 15} text-anchor="middle">
        {p.below}
      </text>
    </svg>
  );
}

/** One bar made of parts, and the list that names them. */
import { known, type Maybe, percent, type Quantity, text } from "../lib/format";

export interface StackPart {
  label: string;
  /** Undefined: not reported. */
  value: number | undefined;
  /** Colour token. Null: shown in the list but not in the bar. */
  color: string | null;
}

/** The share of a part; undefined when either is not there. */
const share = (value: Maybe, whole: number): Maybe => (known(value) && whole > 0 ? value / whole : undefined);

/** The bar. `whole` is what the parts are shares of. */
export function StackBar({
  parts,
  whole,
  label,
}: {
  parts: readonly StackPart[];
  whole: number;
  label: string;
}) {
  const shares = parts.map((p) => `${p.label} ${text(percent(share(p.value, whole)))}`);
  return (
    <div class="stack" role="img" aria-label={`${label}: ${shares.join(", ")}`}>
      {parts.map((p) =>
        p.color && known(p.value) && p.value > 0 && whole > 0 ? (
          <i
            key={p.label}
            style={{
              width: `${((p.value / whole) * 100).toFixed(2)}%`,
              backgroundColor: `var(--${p.color})`,
            }}
          />
        ) : null,
      )}
    </div>
  );
}

/** The list: name, value, share. */
export function PartList({
  parts,
  whole,
  format,
}: {
  parts: readonly StackPart[];
  whole: number;
  format: (v: Maybe) => Quantity;
}) {
  return (
    <dl class="kv">
      {parts.map((p) => (
        <div key={p.label}>
          <dt class={p.color ? "" : "in"}>
            {p.color && <i class="sw" style={{ backgroundColor: `var(--${p.color})` }} />}
            {p.label}
          </dt>
          <dd>
            {text(format(p.value))}
            <span class="pc">{text(percent(share(p.value, whole)))}</span>
          </dd>
        </div>
      ))}
    </dl>
  );
}

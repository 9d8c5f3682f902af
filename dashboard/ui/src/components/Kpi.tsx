/** The summary row: label and change, value, shape, one line of supporting figures. */
import type { ComponentChildren } from "preact";
import type { Breach } from "../lib/breach";
import { known, type Quantity, text } from "../lib/format";

interface Props {
  label: string;
  change?: string | null;
  /** What the change is measured against, when it is said here. */
  against?: string;
  /** How many nodes are behind the figures, in place of the change; marked when it is fewer than report. */
  lacks?: { text: string; marked: boolean } | undefined;
  value: Quantity;
  /** Sparkline, or a bar for a share of a whole. */
  shape: ComponentChildren;
  children: ComponentChildren;
  /** A limit is broken, and how badly. */
  breach?: Breach | undefined;
}

export function Kpi({ label, change, against, lacks, value, shape, children, breach }: Props) {
  return (
    <div class={breach ? `kpi care ${breach}` : "kpi"}>
      <div class="l">
        <h2>{label}</h2>
        {lacks && <span class={lacks.marked ? "d lack" : "d"}>{lacks.text}</span>}
        {!lacks && change && (
          <span class={breach ? `d ${breach === "critical" ? "crit" : "warn"}` : "d"}>
            {change}
            {against && <span class="hide-s"> {against}</span>}
          </span>
        )}
      </div>
      <div class="m">
        <div class="v">
          {value.value}
          <span class="u">{value.unit}</span>
        </div>
        <div class="sk">{shape}</div>
      </div>
      <div class="f">{children}</div>
    </div>
  );
}

/** The row of six. */
export function KpiRow({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <section class="kpis" aria-label={label}>
      {children}
    </section>
  );
}

/** A supporting figure. */
export function Fact({ label, value }: { label?: string; value: Quantity | string }) {
  return (
    <span class="fact">
      {label && `${label} `}
      <b>{typeof value === "string" ? value : text(value)}</b>
    </span>
  );
}

/** A share as a bar. */
export function ShareBar({
  share,
  color = "c-h2",
  thick = false,
}: {
  share: number | undefined;
  color?: string;
  thick?: boolean;
}) {
  const width = known(share) ? Math.min(1, Math.max(0, share)) * 100 : 0;
  return (
    <span class={thick ? "bar thick" : "bar"}>
      <i style={{ width: `${width.toFixed(1)}%`, backgroundColor: `var(--${color})` }} />
    </span>
  );
}

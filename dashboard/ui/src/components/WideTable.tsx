/** A table that is scrolled sideways where it has no room. */
import type { ComponentChildren } from "preact";

/** Its head; its layout: `tx` for text, `wide-only` where a phone shows it elsewhere; whether only screen readers say the head. */
type Column = readonly [head: string, layout?: string, hidden?: boolean];

/** A column of buttons. */
export const ACTIONS: Column = ["Actions", "tx", true];

interface Props {
  label: string;
  columns: readonly Column[];
  class?: string;
  /** The rows. */
  children: ComponentChildren;
}

export function WideTable({ label, columns, class: extra = "", children }: Props) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
    <section class="wide" tabIndex={0} aria-label={label}>
      <table class={`t nodes ${extra}`}>
        <thead>
          <tr>
            {columns.map(([head, layout, hidden]) => (
              <th key={head} scope="col" class={layout}>
                {hidden ? <span class="sr">{head}</span> : head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </section>
  );
}

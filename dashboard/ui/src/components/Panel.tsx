/** A panel: title, grey note saying unit or scope, controls at the right, body. */
import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import { Glyph } from "./Icons";
import { lackBriefly } from "./words";

interface Props {
  title: string;
  note?: ComponentChildren;
  width: 4 | 6 | 8 | 12;
  controls?: ComponentChildren;
  /** Adds the switch between picture and table. */
  table?: { on: boolean; toggle: () => void };
  children: ComponentChildren;
  class?: string;
}

export function Panel({ title, note, width, controls, table, children, class: extra = "" }: Props) {
  const id = useId();
  return (
    <section class={`p w${width}`} aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        {note !== undefined && <span class="note">{note}</span>}
        <div class="r">
          {controls}
          {table && (
            <button
              type="button"
              class="ib s"
              aria-pressed={table.on}
              aria-label={`${title}: view as ${table.on ? "chart" : "table"}`}
              title={table.on ? "View as chart" : "View as table"}
              onClick={table.toggle}
            >
              <Glyph name={table.on ? "chart" : "table"} />
            </button>
          )}
        </div>
      </header>
      <div class={`body ${extra}`}>{children}</div>
    </section>
  );
}

/** A panel whose part of the view is absent: why nothing is there at all, or `what` is not. */
export function Absent({ title, what, width = 4 }: { title: string; what: string; width?: 4 | 8 }) {
  return (
    <Panel title={title} width={width}>
      <p class="absent">{lackBriefly.value ?? what}</p>
    </Panel>
  );
}

interface ChoiceProps<T extends string> {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  choose: (v: T) => void;
}

/** A choice that is kept in a signal. */
export function SignalChoice<T extends string>({
  signal,
  ...choice
}: Pick<ChoiceProps<T>, "label" | "options"> & { signal: Signal<T> }) {
  return (
    <Choice
      {...choice}
      value={signal.value}
      choose={(v) => {
        signal.value = v;
      }}
    />
  );
}

/** A row of buttons of which one is pressed. */
export function Choice<T extends string>({ label, value, options, choose }: ChoiceProps<T>) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset cannot be laid out as one line of buttons
    <div class="seg s" role="group" aria-label={label}>
      {options.map(([key, text]) => (
        <button type="button" key={key} aria-pressed={key === value} onClick={() => choose(key)}>
          {text}
        </button>
      ))}
    </div>
  );
}

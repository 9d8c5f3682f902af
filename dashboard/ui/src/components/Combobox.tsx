/** A field that finds while one types: arrows move in the list, Enter takes, Escape closes. The focus stays in the field. */
import { useSignal } from "@preact/signals";
import { useEffect, useId, useRef } from "preact/hooks";
import { Glyph } from "./Icons";

export interface Option {
  /** Unique in the list. */
  key: string;
  label: string;
  detail?: string;
  /** Options of one group follow each other. */
  group?: string;
}

interface Props {
  id?: string;
  label: string;
  placeholder: string;
  value: string;
  input: (text: string) => void;
  options: readonly Option[];
  choose: (option: Option) => void;
  /** Enter without an option. */
  submit?: () => void;
  /** Said below the options. */
  more?: string;
  /** Opens with the focus, before anything is typed. */
  eager?: boolean;
  hint?: string;
  class?: string;
}

export function Combobox({
  id,
  label,
  placeholder,
  value,
  input,
  options,
  choose,
  submit,
  more = "",
  eager = false,
  hint,
  class: extra = "",
}: Props) {
  const list = useId();
  const open = useSignal(false);
  /** Of the option that Enter takes; -1 is none. */
  const at = useSignal(-1);
  const field = useRef<HTMLInputElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const shown = open.value && (eager || value.trim() !== "") && (options.length > 0 || more !== "");
  const index = Math.min(at.value, options.length - 1);
  const take = (option: Option) => {
    open.value = false;
    at.value = -1;
    choose(option);
  };
  useEffect(() => {
    if (shown && index >= 0)
      document.getElementById(`${list}-${index}`)?.scrollIntoView({ block: "nearest" });
  }, [shown, index]);
  const groups = [...new Set(options.map((is) => is.group ?? ""))];
  return (
    <div
      class={`combo ${extra}`}
      ref={box}
      onFocusOut={(e) => {
        if (!box.current?.contains(e.relatedTarget as Node | null)) open.value = false;
      }}
    >
      <Glyph name="search" />
      <input
        ref={field}
        {...(id === undefined ? {} : { id })}
        type="text"
        role="combobox"
        aria-label={label}
        aria-expanded={shown}
        aria-controls={list}
        aria-autocomplete="list"
        {...(shown && index >= 0 ? { "aria-activedescendant": `${list}-${index}` } : {})}
        placeholder={placeholder}
        autocomplete="off"
        spellcheck={false}
        value={value}
        onFocus={() => {
          open.value = true;
        }}
        onInput={(e) => {
          open.value = true;
          at.value = -1;
          input(e.currentTarget.value);
        }}
        onKeyDown={(e) => {
          const option = options[index];
          if (e.key === "ArrowDown" || e.key === "ArrowUp") {
            const n = options.length;
            if (n === 0) return;
            if (!open.value) open.value = true;
            else at.value = e.key === "ArrowDown" ? (index + 1) % n : (index <= 0 ? n : index) - 1;
          } else if (e.key === "Enter" && shown && option) take(option);
          else if (e.key === "Enter" && submit) {
            open.value = false;
            submit();
          } else if (e.key === "Escape" && shown) open.value = false;
          else if (e.key === "Escape") e.currentTarget.blur();
          else return;
          e.preventDefault();
        }}
      />
      {hint !== undefined && <kbd>{hint}</kbd>}
      <div class="combo-list" hidden={!shown}>
        <div role="listbox" id={list} aria-label={label}>
          {groups.map((group) => (
            // biome-ignore lint/a11y/useSemanticElements: a fieldset cannot stand in a list box
            <div key={group} role="group" aria-label={group || label}>
              {group !== "" && <p aria-hidden="true">{group}</p>}
              {options.map((option, i) =>
                (option.group ?? "") === group ? (
                  // biome-ignore lint/a11y/useFocusableInteractive lint/a11y/useKeyWithClickEvents: the focus and the keys are those of the field
                  <div
                    key={option.key}
                    id={`${list}-${i}`}
                    role="option"
                    aria-selected={i === index}
                    onPointerDown={(e) => e.preventDefault()}
                    onClick={() => take(option)}
                  >
                    <bdi>{option.label}</bdi>
                    {option.detail !== undefined && <small>{option.detail}</small>}
                  </div>
                ) : null,
              )}
            </div>
          ))}
        </div>
        {more !== "" && <p class="combo-more">{more}</p>}
      </div>
    </div>
  );
}

/** Finds a series by name, unit or attribute while one types. */
import { useSignal } from "@preact/signals";
import * as f from "../lib/format";
import { type Listed, matching } from "../lib/listed";
import { Combobox } from "./Combobox";

/** Names that are offered; the others are counted. */
const OFFERED_MAX = 12;

interface Props {
  label: string;
  placeholder: string;
  /** All there are; null until they are read. */
  names: readonly Listed[] | null;
  /** Why there are none. */
  problem: string | null;
  choose: (name: string) => void;
}

export function SeriesCombobox({ label, placeholder, names, problem, choose }: Props) {
  const text = useSignal("");
  const found = matching(names ?? [], text.value);
  return (
    <Combobox
      label={label}
      placeholder={placeholder}
      value={text.value}
      input={(next) => {
        text.value = next;
      }}
      eager
      options={found.slice(0, OFFERED_MAX).map((is) => ({
        key: is.name,
        label: is.name,
        detail: [is.kind, is.unit === "1" ? "" : is.unit, is.count > 1 ? `${is.count} series` : ""]
          .filter(Boolean)
          .join(", "),
      }))}
      more={problem ?? (names === null ? "Reading the list of series." : beyond(found.length))}
      choose={({ key }) => {
        text.value = "";
        choose(key);
      }}
    />
  );
}

function beyond(found: number): string {
  if (found === 0) return "No series has this in its name, unit or attributes.";
  return found > OFFERED_MAX ? `and ${f.grouped(found - OFFERED_MAX)} more: type on` : "";
}

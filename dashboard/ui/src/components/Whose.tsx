/** Chooses whose values are shown: the cluster's, those of each node, of a group or of one node. */
import { useSignal } from "@preact/signals";
import { useId, useMemo } from "preact/hooks";
import type { Fleet } from "../api/fleet";
import type { Whose } from "../lib/explore";
import { groupsOf } from "../lib/groups";

/** Most names that are offered; any other name may be typed. */
const OFFERED_MAX = 1_000;

interface Props {
  label: string;
  value: Whose;
  choose: (whose: Whose) => void;
  fleet: Fleet | null;
  /** Offers one line for each node. */
  each?: string;
}

const NODE = "node:";

export function WhoseSelect({ label, value, choose, fleet, each }: Props) {
  const list = useId();
  const naming = useSignal(false);
  /** What is typed and not yet taken: the page is drawn again each second meanwhile. */
  const typed = useSignal<string | null>(null);
  const groups = useMemo(() => groupsOf(fleet?.rows ?? []), [fleet?.dictionaryVersion]);
  const ofNode = value.startsWith(NODE);
  const group = value.startsWith("group:") ? value.slice(6) : null;
  return (
    <>
      <select
        class="select s"
        aria-label={label}
        value={naming.value || ofNode ? NODE : value}
        onChange={(e) => {
          const next = e.currentTarget.value as Whose;
          naming.value = next === NODE;
          if (next !== NODE) choose(next);
        }}
      >
        <option value="">whole cluster</option>
        {each !== undefined && <option value="each">{each}</option>}
        <option value={NODE}>one node</option>
        {group !== null && !groups.includes(group) && <option value={value}>{group}</option>}
        {groups.map((is) => (
          <option key={is} value={`group:${is}`}>
            {is}
          </option>
        ))}
      </select>
      {(naming.value || ofNode) && (
        <>
          <input
            class="select s name"
            list={list}
            aria-label={`${label}: node`}
            placeholder="name of a node"
            value={typed.value ?? (ofNode ? value.slice(NODE.length) : "")}
            autocomplete="off"
            spellcheck={false}
            onInput={(e) => {
              typed.value = e.currentTarget.value;
            }}
            onChange={(e) => {
              const name = e.currentTarget.value.trim();
              typed.value = null;
              naming.value = name === "";
              if (name !== "") choose(`node:${name}`);
            }}
          />
          <datalist id={list}>
            {(fleet?.rows ?? []).slice(0, OFFERED_MAX).map((row) => (
              <option key={row.id} value={row.id} />
            ))}
          </datalist>
        </>
      )}
    </>
  );
}

/** Finds nodes, series and pages while one types, from everywhere; on the page of nodes it is the filter. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ask } from "../api/ask";
import type { Fleet } from "../api/fleet";
import { find } from "../lib/find";
import { plural } from "../lib/format";
import { byName, type Listed, type ListedSeries } from "../lib/listed";
import { live } from "../state/page";
import { navigate, path, query, setQuery } from "../state/router";
import { Combobox } from "./Combobox";
import { Glyph } from "./Icons";

const NONE: readonly never[] = [];

/** Nodes and series, followed and asked for only while somebody looks for them. */
function useKnown(looking: boolean): { fleet: Fleet | null; names: readonly Listed[] } {
  const fleet = useSignal<Fleet | null>(null);
  const names = useSignal<readonly Listed[]>(NONE);
  useEffect(() => {
    if (!looking) return;
    const view = live.hosts();
    const stop = view.state.subscribe((state) => {
      fleet.value = state;
    });
    const mine = new AbortController();
    ask<{ series: ListedSeries[] }>("/api/v1/series", {}, mine.signal).then(
      ({ series }) => {
        names.value = byName(series);
      },
      // Nodes and pages are found all the same.
      () => {},
    );
    return () => {
      stop();
      live.release(view);
      mine.abort();
    };
  }, [looking]);
  return { fleet: fleet.value, names: names.value };
}

export function Find({ pages }: { pages: readonly { href: string; label: string }[] }) {
  const onNodes = path.value === "/nodes";
  const text = useSignal("");
  const looking = useSignal(false);
  /** On a phone the field is over the bar while it is used. */
  const over = useSignal(false);
  const { fleet, names } = useKnown(looking.value && !onNodes);
  const { found, nodes } = onNodes
    ? { found: [], nodes: 0 }
    : find(text.value, { pages, rows: fleet?.rows ?? [], names });
  const go = (href: string) => {
    text.value = "";
    over.value = false;
    navigate(href);
  };
  const shown = found.filter((is) => is.group === "Nodes").length;
  const rest = nodes > shown && shown > 0 ? `Enter lists ${plural(nodes, "node")}` : "";
  const nothing = !onNodes && text.value.trim() !== "" && found.length === 0 && fleet !== null;
  useEffect(() => {
    if (over.value) document.getElementById("find")?.focus();
  }, [over.value]);
  return (
    <>
      <button
        type="button"
        class="ib find-open"
        aria-label="Find"
        aria-expanded={over.value}
        onClick={() => {
          over.value = !over.value;
        }}
      >
        <Glyph name="search" />
      </button>
      <search
        class={over.value ? "find over" : "find"}
        onFocusIn={() => {
          looking.value = true;
        }}
        onFocusOut={(e) => {
          if (e.currentTarget.contains(e.relatedTarget as Node | null)) return;
          looking.value = false;
          over.value = false;
        }}
      >
        <Combobox
          id="find"
          label={onNodes ? "Filter nodes, for example zone:b cpu>80%" : "Find a node, a metric or a page"}
          placeholder={onNodes ? "Filter nodes" : "Find node or metric"}
          value={onNodes ? (query.value.get("q") ?? "") : text.value}
          input={(value) => {
            if (onNodes) setQuery("q", value);
            else text.value = value;
          }}
          options={found.map(({ href: _, ...option }) => option)}
          more={nothing ? "No node, series or page has this." : rest}
          choose={({ key }) => {
            const option = found.find((is) => is.key === key);
            if (option) go(option.href);
          }}
          submit={() => {
            const value = text.value.trim();
            if (!onNodes) go(value === "" ? "/nodes" : `/nodes?q=${encodeURIComponent(value)}`);
          }}
          hint="/"
        />
      </search>
    </>
  );
}

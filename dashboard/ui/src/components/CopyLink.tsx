/** Copies the address of what is shown: as it is, or with the times that are shown now. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { copy } from "../lib/copy";
import { clock, dated, zoneName } from "../lib/format";
import { fixedHref } from "../lib/period";
import { period, range } from "../state/timeline";
import { Glyph, StatusMark } from "./Icons";

const SAID_MS = 4_000;

export function CopyLink() {
  const open = useSignal(false);
  const done = useSignal<"copied" | "failed" | null>(null);
  const shown = useSignal("");
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const take = async (href: string) => {
    shown.value = href;
    done.value = (await copy(href)) ? "copied" : "failed";
    if (done.value === "failed") return;
    open.value = false;
    button.current?.focus();
    window.setTimeout(() => {
      done.value = null;
    }, SAID_MS);
  };
  useEffect(() => {
    if (done.value !== "failed") return;
    field.current?.focus();
    field.current?.select();
  }, [done.value]);
  const { from, to } = range.value;
  const long = to - from >= 86_399;
  const named = period.value?.name ?? null;
  const fixed = named === "custom";
  const when = long ? `${dated(from)} to ${dated(to)}` : `${clock(from)} to ${clock(to)}`;
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: Escape closes, as does leaving it
    <div
      class="menu hide-s"
      ref={box}
      onKeyDown={(e) => {
        if (e.key !== "Escape" || !open.value) return;
        e.stopPropagation();
        e.preventDefault();
        open.value = false;
        button.current?.focus();
      }}
      onFocusOut={(e) => {
        if (e.relatedTarget !== null && !box.current?.contains(e.relatedTarget as Node)) open.value = false;
      }}
    >
      <button
        ref={button}
        type="button"
        class="ib"
        aria-label={done.value === "copied" ? "Link copied" : "Copy a link to this view"}
        title={done.value === "copied" ? "Link copied" : "Copy a link to this view"}
        aria-expanded={open.value}
        onClick={() => {
          done.value = null;
          open.value = !open.value;
        }}
      >
        {done.value === "copied" ? <StatusMark mark="ok" /> : <Glyph name="link" />}
      </button>
      <span class="sr" role="status">
        {done.value === "copied" ? "Link copied" : ""}
      </span>
      {open.value && (
        <div class="menu-list">
          {!fixed && (
            <button type="button" onClick={() => void take(window.location.href)}>
              Link as it is
              <small>
                {named === null ? "live, the last 15 minutes" : `the last ${named}, whenever it is opened`}
              </small>
            </button>
          )}
          <button
            type="button"
            onClick={() =>
              void take(fixed ? window.location.href : fixedHref(window.location.href, from, to))
            }
          >
            Link with fixed times
            <small>
              {when} {zoneName()}
            </small>
          </button>
          {done.value === "failed" && (
            <label>
              The browser does not let this page copy. Press Ctrl+C:
              <input ref={field} class="select" readOnly value={shown.value} />
            </label>
          )}
        </div>
      )}
    </div>
  );
}

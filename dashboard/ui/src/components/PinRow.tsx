/** Says that the crosshair is held or that a part of the range is shown, and how to leave. */
import { clock, clockWithin } from "../lib/format";
import { choosePeriod, past, pin, pinned, range, resume, zoom } from "../state/timeline";
import { Glyph } from "./Icons";

/** A quarter of an hour around a second. */
const around = (second: number) => ({ from: second - 450, to: second + 449 });

export function PinRow() {
  const at = pinned.value;
  const part = zoom.value;
  const before = past.value;
  if (at === null && part === null) return null;
  return (
    <div class="pinrow">
      {at !== null && (
        <button type="button" class="pinchip" onClick={() => pin(null)} aria-label="Free the crosshair">
          <Glyph name="cross" />
          Crosshair pinned at{" "}
          <b>{before === null ? clock(at) : clockWithin(at, before.to - before.from, before.step)}</b>
          <kbd>Esc</kbd>
        </button>
      )}
      {at !== null && (at < range.value.from || at > range.value.to) && (
        <>
          <span class="warn">It is outside of the time that is shown.</span>
          <button type="button" class="lk" onClick={() => choosePeriod("custom", around(at), at)}>
            Show the minutes around it
          </button>
        </>
      )}
      {part !== null && (
        <button type="button" class="pinchip" onClick={resume} aria-label="Leave the zoom, back to live">
          Zoomed to{" "}
          <b>
            {clock(part.from)}–{clock(part.to)}
          </b>
          <kbd>.</kbd>
        </button>
      )}
      <span class="mute">
        All charts read the same {before === null || before.step === 1 ? "second" : "point"}. Drag to zoom,
        double-click to reset.
      </span>
    </div>
  );
}

/** Which time the charts show, and in what points. Both stand in the address, and each choice is a step back. */
import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { lengthInWords, span as spanText, zoneName } from "../lib/format";
import { carries, GRANULARITIES, type Granularity, RANGES, SHORTEST } from "../lib/period";
import { clockField, readClockField } from "../lib/zone";
import { path } from "../state/router";
import { chooseGranularity, choosePeriod, granularity, past, period, range, span } from "../state/timeline";

/** Live: the last 15 minutes. */
const LIVE = "15m";
const NAMES = Object.keys(RANGES);

/** What was understood, in an order that is the same in every language. */
const rangeInWords = (from: number, to: number) =>
  `${clockField(from).replace("T", " ")} to ${clockField(to).replace("T", " ")} ${zoneName()}, ${lengthInWords(to - from + 1)}`;

function Custom({ close }: { close: () => void }) {
  const form = useRef<HTMLFormElement>(null);
  const problem = useSignal("");
  const understood = useSignal("");
  // Of the moment in which it was opened: what is typed since stays.
  const { from, to } = useMemo(() => range.peek(), []);
  useEffect(() => form.current?.querySelector("input")?.focus(), []);
  return (
    <form
      class="custom"
      ref={form}
      aria-label="Custom range"
      onKeyDown={(e) => {
        if (e.key === "Escape") close();
      }}
      onInput={(e) => {
        const data = new FormData(e.currentTarget);
        const [a, b] = ["from", "to"].map((name) => readClockField(String(data.get(name))));
        understood.value = a !== undefined && b !== undefined && b > a ? rangeInWords(a, b) : "";
      }}
      onSubmit={(e) => {
        e.preventDefault();
        const data = new FormData(e.currentTarget);
        const [a, b] = ["from", "to"].map((name) => readClockField(String(data.get(name))));
        if (a === undefined || b === undefined || !(b - a + 1 >= SHORTEST)) {
          problem.value = `From must be at least ${SHORTEST} s before To.`;
          return;
        }
        choosePeriod("custom", { from: a, to: b });
        close();
      }}
    >
      <label>
        From, {zoneName()}
        <input name="from" type="datetime-local" step="1" required defaultValue={clockField(from)} />
      </label>
      <label>
        To
        <input name="to" type="datetime-local" step="1" required defaultValue={clockField(to)} />
      </label>
      <button type="submit" class="btn">
        Show
      </button>
      <button type="button" class="btn" onClick={close}>
        Cancel
      </button>
      <p class="understood">{understood.value}</p>
      <p role="alert">{problem.value}</p>
    </form>
  );
}

export function RangePicker() {
  // The page History is of the past alone.
  const names = path.value === "/history" ? NAMES : [LIVE, ...NAMES];
  const asking = useSignal(false);
  const shown = period.value;
  const step = past.value?.step ?? 1;
  const stepText = step % 60 === 0 ? lengthInWords(step) : spanText(step);
  const able = (name: Granularity) => (shown === null ? name === "second" : carries(shown, name));
  return (
    <div class="times">
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset cannot be laid out as one line of buttons */}
      <div class="seg" role="group" aria-label="Range of time">
        {names.map((name) => (
          <button
            type="button"
            key={name}
            aria-pressed={(shown?.name ?? LIVE) === name}
            title={name === LIVE ? `Live: the last ${lengthInWords(span.value)}` : `The last ${name}`}
            onClick={() => choosePeriod(name === LIVE ? null : name)}
          >
            {name}
          </button>
        ))}
        <button
          type="button"
          aria-pressed={shown?.name === "custom"}
          aria-expanded={asking.value}
          onClick={() => {
            asking.value = !asking.value;
          }}
        >
          Custom
        </button>
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: as above */}
      <div class="seg" role="group" aria-label="Time in a point">
        <button
          type="button"
          aria-pressed={shown === null ? false : granularity.value === null}
          disabled={shown === null}
          title={shown === null ? "Live charts are by the second" : `Chosen by the range: ${stepText}`}
          onClick={() => chooseGranularity(null)}
        >
          {shown !== null && granularity.value === null ? `auto, ${spanText(step)}` : "auto"}
        </button>
        {(Object.keys(GRANULARITIES) as Granularity[]).map((name) => (
          <button
            type="button"
            key={name}
            aria-pressed={shown === null ? name === "second" : granularity.value === name}
            disabled={!able(name)}
            title={able(name) ? `One point a ${name}` : `This range is not shown by the ${name}`}
            onClick={() => {
              if (shown !== null) chooseGranularity(name);
            }}
          >
            {name}
          </button>
        ))}
      </div>
      {asking.value && (
        <Custom
          close={() => {
            asking.value = false;
          }}
        />
      )}
    </div>
  );
}

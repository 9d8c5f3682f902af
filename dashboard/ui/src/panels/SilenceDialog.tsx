/** The form that makes alerts quiet for a time; it says what it would cover while it is filled in. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type AlertDetails, type Covered, makeSilence, previewSilence } from "../api/alerts";
import { problemOf } from "../api/ask";
import { Dialog } from "../components/Dialog";
import type { Matcher } from "../lib/alerts";
import * as f from "../lib/format";
import { DialogForm } from "./DialogForm";

const TERMS = [
  [900, "15 minutes"],
  [3_600, "an hour"],
  [14_400, "4 hours"],
  [86_400, "a day"],
  [604_800, "a week"],
] as const;

/** What is chosen at first. */
const TERM = 3_600;

/** How a value is compared: `=`, `!=`, `=~`, `!~`. */
const SIGNS = [
  ["=", "is"],
  ["!=", "is not"],
  ["=~", "matches"],
  ["!~", "does not match"],
] as const;

/** Matchers of one silence; the server refuses more. */
const MATCHERS_MAX = 16;
/** Covered alerts that are named. */
const NAMED_MAX = 5;
/** The preview is asked for when nothing was typed for so long, milliseconds. */
const STILL_MS = 300;

interface Line {
  key: string;
  sign: string;
  value: string;
}

/** What the form begins with: the rule and whom it is about. */
function linesOf(alert: AlertDetails | null): Line[] {
  if (alert === null) return [{ key: "rule", sign: "=", value: "" }];
  const lines: Line[] = [{ key: "rule", sign: "=", value: alert.metric }];
  if (alert.subject) lines.push({ key: alert.node ? "node" : "subject", sign: "=", value: alert.subject });
  for (const [key, value] of Object.entries(alert.attributes)) lines.push({ key, sign: "=", value });
  return lines;
}

const matchersOf = (lines: readonly Line[]): Matcher[] =>
  lines
    .filter((line) => line.key.trim() !== "")
    .map(({ key, sign, value }) => ({
      key: key.trim(),
      value,
      regex: sign.endsWith("~"),
      negate: sign.startsWith("!"),
    }));

/** What the silence would cover now. */
function Preview({ lines }: { lines: readonly Line[] }) {
  const covers = useSignal<Covered[] | null>(null);
  const problem = useSignal("");
  const key = JSON.stringify(lines);
  useEffect(() => {
    let dropped = false;
    const matchers = matchersOf(lines);
    const timer = window.setTimeout(() => {
      if (matchers.length === 0) return;
      previewSilence(matchers).then(
        (answer) => {
          if (dropped) return;
          covers.value = answer.covers;
          problem.value = "";
        },
        (error) => {
          if (!dropped) problem.value = problemOf(error);
        },
      );
    }, STILL_MS);
    return () => {
      dropped = true;
      window.clearTimeout(timer);
    };
  }, [key]);
  if (problem.value !== "") return <p class="problem">{problem.value}</p>;
  if (covers.value === null) return <p class="said">Looking what this covers.</p>;
  const list = covers.value;
  return (
    <div class="said" role="status">
      {list.length === 0 ? "Covers no open alert now." : `Covers ${f.plural(list.length, "open alert")} now:`}
      <ul>
        {list.slice(0, NAMED_MAX).map((alert) => (
          <li key={alert.id}>{alert.sentence}</li>
        ))}
        {list.length > NAMED_MAX && <li>and {f.grouped(list.length - NAMED_MAX)} more</li>}
      </ul>
    </div>
  );
}

interface MatcherProps {
  line: Line;
  at: number;
  alone: boolean;
  set: (change: Partial<Line>) => void;
  remove: () => void;
}

function MatcherFields({ line, at, alone, set, remove }: MatcherProps) {
  const label = `matcher ${at + 1}`;
  return (
    <div class="matcher">
      <input
        class="input"
        aria-label={`Label of ${label}`}
        placeholder="rule, node, zone"
        value={line.key}
        required
        maxLength={100}
        onInput={(e) => set({ key: e.currentTarget.value })}
      />
      <select
        class="select"
        aria-label={`Comparison of ${label}`}
        value={line.sign}
        onChange={(e) => set({ sign: e.currentTarget.value })}
      >
        {SIGNS.map(([sign, text]) => (
          <option key={sign} value={sign}>
            {text}
          </option>
        ))}
      </select>
      <input
        class="input"
        aria-label={`Value of ${label}`}
        value={line.value}
        maxLength={1000}
        onInput={(e) => set({ value: e.currentTarget.value })}
      />
      <button type="button" class="lk" disabled={alone} aria-label={`Remove ${label}`} onClick={remove}>
        Remove
      </button>
    </div>
  );
}

interface Props {
  /** What it is first about; null begins with nothing. */
  of: AlertDetails | null;
  done: () => void;
  close: () => void;
}

export function SilenceDialog({ of, done, close }: Props) {
  const lines = useSignal<Line[]>(linesOf(of));
  return (
    <Dialog title="Silence" close={close}>
      <DialogForm
        submit="Silence"
        term={{ label: "For", options: TERMS, first: TERM }}
        send={(who, comment, seconds) => makeSilence(matchersOf(lines.value), who, comment, seconds)}
        done={done}
        close={close}
      >
        <fieldset class="matchers">
          <legend>Alerts of which all of this is true</legend>
          {lines.value.map((line, at) => (
            <MatcherFields
              key={at}
              line={line}
              at={at}
              alone={lines.value.length === 1}
              set={(change) => {
                lines.value = lines.value.map((l, i) => (i === at ? { ...l, ...change } : l));
              }}
              remove={() => {
                lines.value = lines.value.filter((_, i) => i !== at);
              }}
            />
          ))}
          <button
            type="button"
            class="lk"
            disabled={lines.value.length >= MATCHERS_MAX}
            onClick={() => {
              lines.value = [...lines.value, { key: "", sign: "=", value: "" }];
            }}
          >
            Add
          </button>
        </fieldset>
        <Preview lines={lines.value} />
      </DialogForm>
    </Dialog>
  );
}

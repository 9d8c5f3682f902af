/** The form of something that is done to alerts: for how long, by whom, and why. */
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { problemOf } from "../api/ask";
import { ownName, rememberName } from "../state/name";
import { session } from "../state/session";

interface Props<T> {
  /** What the button says. */
  submit: string;
  /** For how long: what it is called, seconds with their words, and which is chosen at first. */
  term: { label: string; options: readonly (readonly [seconds: number, text: string])[]; first: number };
  send: (who: string, comment: string, seconds: number) => Promise<T>;
  done: (answer: T) => void;
  close: () => void;
  /** What comes before. */
  children?: ComponentChildren;
}

export function DialogForm<T>({ submit, term, send, done, close, children }: Props<T>) {
  const problem = useSignal("");
  const busy = useSignal(false);
  const go = (form: HTMLFormElement) => {
    const field = (name: string) => String(new FormData(form).get(name) ?? "").trim();
    const who = field("who");
    busy.value = true;
    if (who !== "") rememberName(who);
    send(who, field("comment"), Number(field("term"))).then(done, (error) => {
      problem.value = problemOf(error);
      busy.value = false;
    });
  };
  return (
    <form
      class="fields"
      onSubmit={(e) => {
        e.preventDefault();
        go(e.currentTarget);
      }}
    >
      {children}
      <label>
        {term.label}
        <select class="select" name="term">
          {term.options.map(([seconds, text]) => (
            <option key={seconds} value={seconds} selected={seconds === term.first}>
              {text}
            </option>
          ))}
        </select>
      </label>
      {session.value?.name ? (
        <p class="said">In the name of {session.value.name}.</p>
      ) : (
        <label>
          Your name
          <input
            class="input"
            name="who"
            required
            maxLength={100}
            autocomplete="name"
            defaultValue={ownName()}
          />
        </label>
      )}
      <label>
        Comment
        <input class="input" name="comment" maxLength={1000} autocomplete="off" />
      </label>
      {problem.value !== "" && (
        <p class="problem" role="alert">
          {problem.value}
        </p>
      )}
      <div class="row">
        <button type="submit" class="btn main" disabled={busy.value}>
          {submit}
        </button>
        <button type="button" class="btn" onClick={close}>
          Cancel
        </button>
      </div>
    </form>
  );
}

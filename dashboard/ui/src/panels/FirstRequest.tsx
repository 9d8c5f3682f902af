/** How an application sends its first request: shown until one has come. */
import { useSignal } from "@preact/signals";
import { Choice } from "../components/Panel";
import { HOW_TO, RECEIVER } from "../lib/firstRequest";
import { query, setQuery } from "../state/router";

/** For how long it is said that something was copied, ms. */
const SAID_MS = 2_000;

export function FirstRequest() {
  const said = useSignal("");
  const how = HOW_TO.find((is) => is.name === query.value.get("how")) ?? HOW_TO[0];
  if (!how) return null;
  const copy = () => {
    const done = navigator.clipboard?.writeText(how.lines) ?? Promise.reject(new Error("no clipboard"));
    done.then(
      () => {
        said.value = "Copied";
      },
      () => {
        // Over plain HTTP from another host there is no clipboard: the text is selected instead.
        const lines = document.querySelector(".first-request pre");
        if (lines) window.getSelection()?.selectAllChildren(lines);
        said.value = "Selected: press Ctrl+C";
      },
    );
    window.setTimeout(() => {
      said.value = "";
    }, SAID_MS);
  };
  return (
    <div class="first-request">
      <p>
        No application has sent a request yet. The daemon of each host takes what OpenTelemetry sends on that
        host: <code>{RECEIVER.grpc}</code> by gRPC and <code>{RECEIVER.http}</code> by HTTP, unless its
        settings <code>otlp_listen</code> and <code>otlp_http_listen</code> say otherwise. When one comes, its
        service appears here by itself.
      </p>
      <div class="row">
        <Choice<string>
          label="Language"
          value={how.name}
          options={HOW_TO.map((is) => [is.name, is.name] as const)}
          choose={(name) => setQuery("how", name === HOW_TO[0]?.name ? null : name)}
        />
        <button type="button" class="btn s" onClick={copy}>
          Copy
        </button>
        <span role="status">{said.value}</span>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard */}
      <section class="lines" tabIndex={0} aria-label={`First request, ${how.name}`}>
        <pre>{how.lines}</pre>
      </section>
      <p class="small">{how.note}</p>
    </div>
  );
}

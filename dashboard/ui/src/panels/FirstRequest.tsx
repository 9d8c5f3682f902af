/** How an application sends its first request: shown until one has come. */
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { Choice } from "../components/Panel";
import { HOW_TO, RECEIVER } from "../lib/firstRequest";
import { type Listens, listensText, withReceiver } from "../lib/receiver";
import { live } from "../state/page";
import { query, setQuery } from "../state/router";
import { useAnswer } from "./useAnswer";

/** For how long it is said that something was copied, ms. */
const SAID_MS = 2_000;

/** A host whose daemon is asked where it listens: the first that reports and is real. */
function useHost(): string | undefined {
  const hosts = useMemo(() => live.hosts(), []);
  useEffect(() => () => live.release(hosts), [hosts]);
  return hosts.state.value?.rows.find((row) => row.state === "reporting" && !row.simulated)?.id;
}

/** Where the daemon of a host listens; null until it has said so. */
function Host({ id, children }: { id: string; children: (listens: Listens) => ComponentChildren }) {
  const { answer } = useAnswer<{ facts: Listens | null }>(id, `/api/v1/nodes/${encodeURIComponent(id)}`, {});
  const facts = answer?.facts;
  // A daemon of an older version does not say.
  return <>{facts && facts.otlpListen !== undefined ? children(facts) : children(USUAL)}</>;
}

const USUAL: Listens = { otlpListen: RECEIVER.grpc, otlpHttpListen: RECEIVER.http, statsdListen: null };

export function FirstRequest() {
  const host = useHost();
  return host === undefined ? (
    <Examples listens={USUAL} />
  ) : (
    <Host key={host} id={host}>
      {(listens) => <Examples listens={listens} {...(listens !== USUAL && { host })} />}
    </Host>
  );
}

function Examples({ listens, host }: { listens: Listens; host?: string }) {
  const said = useSignal("");
  const how = HOW_TO.find((is) => is.name === query.value.get("how")) ?? HOW_TO[0];
  if (!how) return null;
  const lines = withReceiver(how.lines, listens);
  const copy = () => {
    const done = navigator.clipboard?.writeText(lines) ?? Promise.reject(new Error("no clipboard"));
    done.then(
      () => {
        said.value = "Copied";
      },
      () => {
        // Over plain HTTP from another host there is no clipboard: the text is selected instead.
        const shown = document.querySelector(".first-request pre");
        if (shown) window.getSelection()?.selectAllChildren(shown);
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
        No application has sent a request yet.{" "}
        {host === undefined ? (
          <>
            The daemon of each host takes what OpenTelemetry sends on that host: <code>{RECEIVER.grpc}</code>{" "}
            by gRPC and <code>{RECEIVER.http}</code> by HTTP, unless its settings <code>otlp_listen</code> and{" "}
            <code>otlp_http_listen</code> say otherwise.
          </>
        ) : (
          <bdi class="receiver">{listensText(host, listens)}</bdi>
        )}{" "}
        When one comes, its service appears here by itself.
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
        <pre>{lines}</pre>
      </section>
      <p class="small">{how.note}</p>
    </div>
  );
}

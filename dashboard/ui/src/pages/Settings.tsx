/** How the person at this browser wants the page, and the limits that the cluster is judged by. */
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useId, useMemo } from "preact/hooks";
import { Choice, Panel } from "../components/Panel";
import { Shell } from "../components/Shell";
import * as f from "../lib/format";
import { isZone } from "../lib/zone";
import { networkScale } from "../panels/table";
import { live, newest } from "../state/page";
import { bytes, density, network, zone } from "../state/preferences";
import { barred, session, signOut } from "../state/session";
import { forgetAll, keeps } from "../state/stored";
import { chosenTheme } from "../state/theme";
import { RuleTable } from "./RuleTable";

/** What a sample of each unit is made of: 1.5 GiB, 94.4 MB in a second. */
const SAMPLE_BYTES = 1.5 * 1024 ** 3;
const SAMPLE_RATE = 94_400_000;

interface RowProps {
  title: string;
  /** What it does, or what it gives now. */
  says: ComponentChildren;
  children: ComponentChildren;
}

function Row({ title, says, children }: RowProps) {
  return (
    <li>
      <h3>{title}</h3>
      <div>{children}</div>
      <p class="mute">{says}</p>
    </li>
  );
}

/** Of the browser, UTC, or any other by its name: that of the hosts, for example. */
function Zone() {
  const list = useId();
  const problem = useSignal("");
  /** What is typed and not yet taken: the page is drawn again each second meanwhile. */
  const typed = useSignal<string | null>(null);
  const chosen = zone.value.value;
  const known = chosen === "local" || chosen === "UTC";
  const naming = useSignal(!known);
  const names = useMemo(() => Intl.supportedValuesOf("timeZone"), []);
  return (
    <>
      <Choice<string>
        label="Time zone"
        value={naming.value ? "named" : chosen}
        options={[
          ["local", "This browser"],
          ["UTC", "UTC"],
          ["named", "Another"],
        ]}
        choose={(next) => {
          problem.value = "";
          naming.value = next === "named";
          if (next !== "named") zone.choose(next === "local" ? null : next);
        }}
      />
      {naming.value && (
        <>
          <input
            class="select s"
            list={list}
            aria-label="Name of the time zone"
            aria-invalid={problem.value !== ""}
            placeholder="Europe/Berlin"
            value={typed.value ?? (known ? "" : chosen)}
            autocomplete="off"
            spellcheck={false}
            onInput={(e) => {
              typed.value = e.currentTarget.value;
            }}
            onChange={(e) => {
              const name = e.currentTarget.value.trim();
              if (name === "" || isZone(name)) typed.value = null;
              problem.value =
                name === "" || isZone(name)
                  ? ""
                  : `The browser knows no time zone ${name}; Europe/Berlin is one.`;
              if (name !== "" && problem.value === "") zone.choose(name);
            }}
          />
          <datalist id={list}>
            {names.map((name) => (
              <option key={name} value={name} />
            ))}
          </datalist>
        </>
      )}
      <span class="warn" role="alert">
        {problem.value}
      </span>
    </>
  );
}

export function SettingsPage() {
  const kept = useMemo(keeps, []);
  const forgotten = useSignal(false);
  const now = newest.value || Math.floor(Date.now() / 1000);
  const net = networkScale().scale;
  const target = live.hello.value?.targetRps ?? 0;
  const version = live.hello.value?.version ?? "";
  return (
    <Shell title="Settings">
      <div class="grid settings">
        <Panel title="This browser" note="kept here, and in no link" width={12}>
          <ul>
            {session.value?.name && (
              <Row
                title={session.value.name}
                says={`Signed in, with the role ${session.value.role}${barred.value ? ", which changes no alerts" : ""}.`}
              >
                <button type="button" class="btn" onClick={signOut}>
                  Sign out
                </button>
              </Row>
            )}
            <Row title="Theme" says="Dark and light have the same contrast; d switches between them.">
              <Choice
                label="Theme"
                value={chosenTheme.value.value}
                options={[
                  ["system", "As the device"],
                  ["dark", "Dark"],
                  ["light", "Light"],
                ]}
                choose={(next) => chosenTheme.choose(next === "system" ? null : next)}
              />
            </Row>
            <Row
              title="Time zone"
              says={
                <>
                  It is {f.dated(now)} ({f.zoneName()}). Files that are saved are in UTC. A host's zone is not
                  reported; name it under Another.
                </>
              }
            >
              <Zone />
            </Row>
            <Row title="Memory" says={`For example ${f.text(f.bytes(SAMPLE_BYTES))}.`}>
              <Choice
                label="Memory"
                value={bytes.value.value}
                options={[
                  ["binary", "KiB, MiB, GiB"],
                  ["decimal", "kB, MB, GB"],
                ]}
                choose={bytes.choose}
              />
            </Row>
            <Row title="Networks" says={`For example ${f.text(net.value(SAMPLE_RATE * (net.scale ?? 1)))}.`}>
              <Choice
                label="Networks"
                value={network.value.value}
                options={[
                  ["bits", "bits"],
                  ["bytes", "bytes"],
                ]}
                choose={network.choose}
              />
            </Row>
            <Row title="Density" says="Compact has less room between panels and between lines of tables.">
              <Choice
                label="Density"
                value={density.value.value}
                options={[
                  ["usual", "Usual"],
                  ["compact", "Compact"],
                ]}
                choose={density.choose}
              />
            </Row>
            <Row
              title="Where this is kept"
              says={
                kept
                  ? "In the storage of this browser, under names that begin with starling. Nothing of it is sent to the server."
                  : "Nowhere: this browser forbids storage, so that choices last until the page is closed."
              }
            >
              <button
                type="button"
                class="btn"
                disabled={!kept}
                onClick={() => {
                  forgetAll();
                  forgotten.value = true;
                }}
              >
                Forget all choices
              </button>
              <span class="mute" role="status">
                {forgotten.value ? "Forgotten." : ""}
              </span>
            </Row>
          </ul>
        </Panel>
        <Panel title="This server" note="from its settings" width={12}>
          <dl class="kv server">
            {(
              [
                ["Cluster", live.hello.value?.cluster || f.NONE],
                ["Version", version || f.NONE],
                [
                  "Requests aimed at",
                  target > 0 ? `${f.text(f.rate(target))} (target_rps)` : "none (target_rps)",
                ],
              ] as const
            ).map(([title, value]) => (
              <div key={title}>
                <dt>{title}</dt>
                <dd>
                  <bdi>{value}</bdi>
                </dd>
              </div>
            ))}
          </dl>
        </Panel>
        <RuleTable title="Limits" always />
      </div>
    </Shell>
  );
}

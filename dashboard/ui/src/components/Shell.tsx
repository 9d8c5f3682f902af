/** The frame around every page: side bar, top bar, banner, bottom tabs, keys. */
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { AggregatorState } from "../gen/starling/v1/cluster_pb";
import { clock, grouped, NONE, plural, span as spanText, THIN, zoneName } from "../lib/format";
import { media } from "../lib/media";
import { ageSeconds, fresh, live, newest, standing } from "../state/page";
import { path, query } from "../state/router";
import { toggleTheme } from "../state/theme";
import { pausedAt, togglePause } from "../state/timeline";
import { Banner } from "./Banner";
import { CopyLink } from "./CopyLink";
import { Find } from "./Find";
import { Glyph, type GlyphName, Logo } from "./Icons";
import { ShortcutList, useKeys } from "./Keys";
import { RangePicker } from "./RangePicker";
import { Who } from "./Who";

/** The page of what applications serve. */
export const TRAFFIC = "Latency and traffic";

/** Of each page its name, and the one that a phone has room for. */
const PAGES = [
  { href: "/", label: "Overview", glyph: "overview" },
  { href: "/nodes", label: "Nodes", glyph: "nodes" },
  { href: "/traffic", label: TRAFFIC, short: "Traffic", glyph: "traffic" },
  { href: "/alerts", label: "Alerts", glyph: "alerts" },
  { href: "/history", label: "History", glyph: "history" },
  { href: "/explore", label: "Explore", glyph: "explore" },
  { href: "/cluster", label: "Cluster", glyph: "cluster" },
  { href: "/settings", label: "Settings", glyph: "settings" },
] satisfies { href: string; label: string; short?: string; glyph: GlyphName }[];

function current(href: string): "page" | undefined {
  const here = path.value;
  return (href === "/" ? here === "/" : here === href || here.startsWith(`${href}/`)) ? "page" : undefined;
}

/** Aggregators that are ready, of all that are known; not known once the server hears of none. */
function aggregatorTally(): { text: string; well: boolean } {
  const { aggregators: rows = [], connectedTo = "" } = live.aggregators.state.value ?? {};
  if (rows.length === 0 || connectedTo === "" || live.connection.value.phase !== "open") {
    return { text: NONE, well: true };
  }
  const ready = rows.filter((a) => a.state === AggregatorState.READY).length;
  return { text: `${ready} of ${rows.length}`, well: ready === rows.length };
}

function SideBar({ help }: { help: () => void }) {
  const complete = live.overview.state.value?.completeness;
  const cluster = live.hello.value?.cluster || "No cluster yet";
  const expected = complete?.nodesExpected ?? 0;
  const reporting = complete?.nodesReporting ?? 0;
  const open = live.overview.state.value?.alerts?.open ?? 0;
  const tally = aggregatorTally();
  const stale = standing.value === "stale";
  const when = stale ? `at ${clock(newest.value)}` : "reporting";
  return (
    <aside class="side" aria-label="Starling">
      <a class="brand" href="/" aria-label="Starling, overview">
        <Logo />
        Starling
      </a>
      <div class="pick">
        <b title={cluster}>{cluster}</b>
        <span>
          {complete
            ? reporting === expected
              ? `${plural(expected, "node")} ${when}`
              : `${grouped(reporting)} of ${plural(expected, "node")} ${when}`
            : "no nodes yet"}
        </span>
      </div>
      <nav class="nav" aria-label="Pages">
        {PAGES.map((p) => (
          <a key={p.href} href={p.href} aria-current={current(p.href)}>
            <Glyph name={p.glyph} />
            {p.label}
            {p.href === "/nodes" && expected > 0 && <span class="n">{grouped(expected)}</span>}
            {p.href === "/alerts" && open > 0 && <span class="n">{grouped(open)}</span>}
          </a>
        ))}
      </nav>
      <dl class="foot">
        <Who />
        <div>
          <dt>Aggregators</dt>
          <dd class={tally.well ? "" : "warn"}>
            {tally.well ? tally.text : <a href="/cluster">{tally.text}</a>}
          </dd>
        </div>
        {complete && (
          <>
            <div>
              <dt>Stored on</dt>
              <dd>{plural(complete.copies, "aggregator")}</dd>
            </div>
            <div>
              <dt>{stale ? "Data age" : "Data delay"}</dt>
              <dd>
                {stale ? spanText(ageSeconds.value) : `${((complete.ageMs ?? 0) / 1000).toFixed(1)}${THIN}s`}
              </dd>
            </div>
          </>
        )}
        <div>
          <dt>Times in</dt>
          <dd>
            <a href="/settings">{zoneName()}</a>
          </dd>
        </div>
        <div>
          <dt>Shortcuts</dt>
          <dd>
            <button type="button" class="key" onClick={help} aria-label="Show keyboard shortcuts">
              ?
            </button>
          </dd>
        </div>
      </dl>
    </aside>
  );
}

/** Live, stale, lost or paused, with the second that is shown. */
function LivePill() {
  const paused = pausedAt.value;
  const at = newest.value;
  const { phase, everOpen } = live.connection.value;
  const state = fresh.value;
  let word = "Live";
  let detail = at === 0 ? "" : clock(at);
  let tone = "";
  if (paused !== null) {
    word = "Paused";
    detail = `${spanText(at - paused)} behind`;
    tone = "paused";
  } else if (at === 0) {
    word = phase === "waiting" && !everOpen ? "Offline" : phase === "open" ? "Waiting" : "Connecting";
    tone = "stale";
  } else if (state !== "fresh") {
    word = "Stale";
    detail = `${spanText(ageSeconds.value)} old`;
    tone = "stale";
  } else if (standing.value === "reconnecting") {
    word = "Reconnecting";
    tone = "stale";
  }
  return (
    <div class={`live ${tone}`}>
      <span>
        <i class="dot" />
        {word}
        {detail !== "" && <time>{detail}</time>}
      </span>
      <button
        type="button"
        id="pause"
        aria-pressed={paused !== null}
        aria-label={paused === null ? "Pause live updates (Space)" : "Go on live (Space)"}
        onClick={togglePause}
      >
        <Glyph name={paused === null ? "pause" : "play"} />
      </button>
    </div>
  );
}

interface Props {
  title: string;
  /** Shown instead of the title: a path of links. */
  trail?: ComponentChildren;
  children: ComponentChildren;
}

/** Pages that a phone has room for; the others stand behind "More". */
const TABS = 4;

/** The pages that have no tab. Another page closes it. */
function More() {
  const pages = PAGES.slice(TABS);
  const here = pages.some((p) => current(p.href));
  return (
    <details class="more-tab">
      <summary aria-current={here ? "true" : undefined}>
        <Glyph name="more" />
        More
      </summary>
      <div>
        {pages.map((p) => (
          <a key={p.href} href={p.href} aria-current={current(p.href)}>
            <Glyph name={p.glyph} />
            {p.label}
          </a>
        ))}
      </div>
    </details>
  );
}

/** On paper: of what, of when, how complete, and where it was. */
function PrintHead() {
  const complete = live.overview.state.value?.completeness;
  const nodes = complete
    ? `, ${grouped(complete.nodesReporting)} of ${plural(complete.nodesExpected ?? 0, "node")} reporting`
    : "";
  const at = newest.value;
  return (
    <p class="print-head" aria-hidden="true">
      {`Starling, ${live.hello.value?.cluster || "no cluster"}, ${at === 0 ? "no data" : new Date(at * 1000).toISOString()} (${zoneName()} in charts)${nodes}`}
      <br />
      {window.location.href}
    </p>
  );
}

/** Pages with charts over the range of the page. */
const CHARTED: ReadonlySet<string> = new Set(["/", "/traffic", "/history", "/explore"]);

/** The page that is shown, and whether it is another one than the first. */
let arrived: { at: string; changed: boolean } | null = null;

/** From this width on the top bar has room for the range. */
const WIDE = media("(min-width: 1340px)");

export function Shell({ title, trail, children }: Props) {
  // The other pages show the present only.
  const charted =
    CHARTED.has(path.value) ||
    path.value.startsWith("/nodes/") ||
    (path.value === "/nodes" && query.value.has("compare"));
  // Another page is begun at its head, by the keyboard and for a screen reader; the first one where the browser begins. A
  // page that is still to be loaded gives its place, and the focus, to what comes.
  useEffect(() => {
    const here = path.peek();
    const another = arrived !== null && arrived.at !== here;
    const changed = another || (arrived?.changed ?? false);
    arrived = { at: here, changed };
    const on = document.activeElement;
    const typing = on?.matches("input, textarea, select") ?? false;
    const lost = on === document.body || on === null;
    if (changed && (lost || (another && !typing)))
      document.querySelector<HTMLElement>(".top h1")?.focus({ preventScroll: true });
  }, [path.value]);
  const help = useSignal(false);
  useKeys(() => {
    help.value = !help.value;
  });
  useEffect(() => {
    const cluster = live.hello.value?.cluster;
    document.title = `${title}${cluster ? ` · ${cluster}` : ""} · Starling`;
  }, [title, live.hello.value]);
  return (
    <div
      class="app"
      data-page={path.value}
      data-state={live.connection.value.everOpen && standing.value !== "live" ? "stale" : undefined}
    >
      <a class="sr skip" href="#main">
        Skip to content
      </a>
      <SideBar
        help={() => {
          help.value = true;
        }}
      />
      <div class="page">
        <header class="top">
          {trail ?? <h1 tabIndex={-1}>{title}</h1>}
          <span class="sp" />
          <Find pages={PAGES} />
          {charted && WIDE.value && <RangePicker />}
          <LivePill />
          <CopyLink />
          <button
            type="button"
            class="ib"
            aria-label="Switch between dark and light"
            title="Theme (d)"
            onClick={toggleTheme}
          >
            <Glyph name="theme" />
          </button>
        </header>
        <main id="main" tabIndex={-1}>
          <PrintHead />
          <Banner />
          {charted && !WIDE.value && <RangePicker />}
          {children}
        </main>
      </div>
      <nav class="tabs" aria-label="Pages, compact">
        {PAGES.slice(0, TABS).map((p) => (
          <a key={p.href} href={p.href} aria-current={current(p.href)}>
            <Glyph name={p.glyph} />
            {"short" in p ? p.short : p.label}
          </a>
        ))}
        <More key={path.value} />
      </nav>
      <ShortcutList open={help} />
    </div>
  );
}

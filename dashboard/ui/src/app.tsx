/** Chooses the page by the path. The overview is at hand; the others are loaded when first needed. */
import type { ComponentChildren, ComponentType } from "preact";
import { Shell, TRAFFIC } from "./components/Shell";
import type { Lazy } from "./lib/lazy";
import {
  explorePages,
  historyPages,
  otherPages,
  others,
  type Pages,
  settingsPages,
  trafficPages,
} from "./pages/lazy";
import { OverviewPage } from "./pages/Overview";
import { path } from "./state/router";

function Message({ title, text, action }: { title: string; text: string; action?: ComponentChildren }) {
  return (
    <Shell title={title}>
      <section class="p empty-page" aria-label={title}>
        <h2>{text}</h2>
        {action}
      </section>
    </Shell>
  );
}

interface Later<T> {
  title: string;
  pages: Lazy<T>;
  pick: (pages: T) => ComponentType;
}

/** A page that is loaded when it is first looked at, or what is said until it is there. */
function Other<T>({ title, pages, pick }: Later<T>) {
  const { part, failed, load } = pages;
  if (part.value !== null) {
    const Page = pick(part.value);
    return <Page />;
  }
  if (!failed.value) {
    load();
    return <Shell title={title}>{null}</Shell>;
  }
  // Happens when the server was upgraded while this page was open: its parts have new names.
  return (
    <Message
      title={title}
      text="This page could not be loaded from the server."
      action={
        <button type="button" class="btn" onClick={() => window.location.reload()}>
          Load again
        </button>
      }
    />
  );
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}

const nodesPage = (pages: Pages) => pages.NodesPage;
const alertsPage = (pages: Pages) => pages.AlertsPage;
const clusterPage = (pages: Pages) => pages.ClusterPage;
const explorePage = (pages: typeof import("./pages/Explore")) => pages.ExplorePage;
const settingsPage = (pages: typeof import("./pages/Settings")) => pages.SettingsPage;
const historyPage = (pages: typeof import("./pages/History")) => pages.HistoryPage;
const trafficPage = (pages: typeof import("./pages/Traffic")) => pages.TrafficPage;

export function App() {
  const here = path.value;
  if (here === "/" || here === "/index.html") return <OverviewPage />;
  if (here === "/nodes") return <Other key="nodes" title="Nodes" pages={otherPages} pick={nodesPage} />;
  if (here === "/traffic") {
    return <Other key="traffic" title={TRAFFIC} pages={trafficPages} pick={trafficPage} />;
  }
  if (here === "/alerts") return <Other key="alerts" title="Alerts" pages={otherPages} pick={alertsPage} />;
  if (here === "/history") {
    return <Other key="history" title="History" pages={historyPages} pick={historyPage} />;
  }
  if (here === "/explore") {
    return <Other key="explore" title="Explore" pages={explorePages} pick={explorePage} />;
  }
  if (here === "/settings") {
    return <Other key="settings" title="Settings" pages={settingsPages} pick={settingsPage} />;
  }
  if (here === "/cluster")
    return <Other key="cluster" title="Cluster" pages={otherPages} pick={clusterPage} />;
  const id = decoded(/^\/nodes\/([^/]+)$/.exec(here)?.[1] ?? "");
  if (id !== "") {
    const pages = others.value;
    // The key gives each node a page of its own, with fresh charts.
    return pages ? (
      <pages.NodePage key={id} id={id} />
    ) : (
      <Other key="node" title={id} pages={otherPages} pick={nodesPage} />
    );
  }
  return (
    <Message
      title="Not found"
      text="There is no page at this address"
      action={
        <a class="btn" href="/">
          Overview
        </a>
      }
    />
  );
}

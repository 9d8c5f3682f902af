/** Chooses the page by the path. The overview is at hand; the others are loaded when first needed. */
import type { ComponentChildren, ComponentType } from "preact";
import { Shell } from "./components/Shell";
import { failed, loadOthers, others, type Pages } from "./pages/lazy";
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

/** One of the other pages, or what is said until it is there. */
function Other({ title, pick }: { title: string; pick: (pages: Pages) => ComponentType }) {
  if (others.value !== null) {
    const Page = pick(others.value);
    return <Page />;
  }
  if (!failed.value) {
    loadOthers();
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

export function App() {
  const here = path.value;
  if (here === "/" || here === "/index.html") return <OverviewPage />;
  if (here === "/nodes") return <Other key="nodes" title="Nodes" pick={nodesPage} />;
  if (here === "/alerts") return <Other key="alerts" title="Alerts" pick={alertsPage} />;
  if (here === "/cluster") return <Other key="cluster" title="Cluster" pick={clusterPage} />;
  const id = decoded(/^\/nodes\/([^/]+)$/.exec(here)?.[1] ?? "");
  if (id !== "") {
    const pages = others.value;
    // The key gives each node a page of its own, with fresh charts.
    return pages ? <pages.NodePage key={id} id={id} /> : <Other key="node" title={id} pick={nodesPage} />;
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

import { render } from "preact";
import { App } from "./app";
import { loadOthers } from "./pages/lazy";
import { startPage } from "./state/page";
import { startPreferences } from "./state/preferences";
import { startRouter } from "./state/router";
import { startTheme } from "./state/theme";
import { startTimeline } from "./state/timeline";

startTheme();
startPreferences();
startRouter();
startPage();
startTimeline();
const root = document.getElementById("app");
if (root) render(<App />, root);
// Fetched early, so that the first change of page does not wait.
window.setTimeout(loadOthers, 1500);

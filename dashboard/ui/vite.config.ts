import { readFileSync } from "node:fs";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

// Where the dev server sends API and WebSocket requests. The test feeder and the real dashboard listen there.
const server = process.env.STARLING_DASHBOARD ?? "http://127.0.0.1:7480";

/** The font's licence asks to travel with the font. */
function fontLicence(): Plugin {
  return {
    name: "font-licence",
    apply: "build",
    generateBundle() {
      const file = new URL("./node_modules/@fontsource-variable/inter/LICENSE", import.meta.url);
      this.emitFile({ type: "asset", name: "Inter-LICENSE.txt", source: readFileSync(file, "utf8") });
    },
  };
}

export default defineConfig({
  plugins: [fontLicence()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  // Parts name each other by where they lie: below which prefix that is, the server knows.
  base: "./",
  build: {
    // light-dark() in the tokens needs these; older ones would get a transpiled copy of every colour.
    target: ["chrome123", "firefox120", "safari17.5"],
    outDir: "dist",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: {
      "/ws": { target: server, ws: true, changeOrigin: false },
      "/api": { target: server },
      "/prometheus": { target: server },
    },
  },
  test: {
    environment: "happy-dom",
    include: ["src/**/*.test.{ts,tsx}"],
  },
});

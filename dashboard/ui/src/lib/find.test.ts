import { expect, it } from "vitest";
import { find } from "./find";
import { byName } from "./listed";
import type { NodeRow } from "./nodes";

const row = (id: string, more: Partial<NodeRow> = {}) =>
  ({ id, labels: { zone: "a" }, state: "reporting", cpu: 0.5, ...more }) as NodeRow;
const known = {
  pages: [{ href: "/cluster", label: "Cluster" }],
  rows: [row("web-10"), row("web-2"), row("my-web"), row("cl(1)", { state: "silent" })],
  names: byName([{ name: "system.cluster.x", attributes: {}, kind: "gauge", unit: "By" }]),
};
const hrefs = (text: string) => find(text, known).found.map((is) => is.href);

it("finds pages, nodes and series by the same words", () => {
  expect(hrefs("cl")).toEqual(["/cluster", "/nodes/cl(1)", "/explore?s=system.cluster.x"]);
  expect(hrefs("web")).toEqual(["/nodes/web-2", "/nodes/web-10", "/nodes/my-web"]);
  expect(hrefs("cl(")).toEqual(["/nodes/cl(1)"]);
  expect(hrefs("state:silent")).toEqual(["/nodes/cl(1)"]);
  expect(find("cpu>40%", known).nodes).toBe(4);
  expect(hrefs("  ")).toEqual([]);
});

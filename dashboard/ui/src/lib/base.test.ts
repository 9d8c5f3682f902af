import { expect, test } from "vitest";
import { baseOf, below } from "./base";

test("the prefix is that of the script", () => {
  expect(baseOf("http://127.0.0.1:7480/assets/index-abc.js")).toBe("");
  expect(baseOf("https://dash.example.org/mon/assets/index-abc.js")).toBe("/mon");
  expect(baseOf("https://dash.example.org/a/assets/b/assets/index-abc.js")).toBe("/a/assets/b");
});

test("paths are told without it", () => {
  expect(below("", "/nodes")).toBe("/nodes");
  expect(below("/mon", "/mon/nodes")).toBe("/nodes");
  expect(below("/mon", "/mon")).toBe("/");
  expect(below("/mon", "/monitor")).toBe("/monitor");
});

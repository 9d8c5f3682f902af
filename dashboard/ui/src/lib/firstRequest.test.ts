import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { HOW_TO } from "./firstRequest";

/** Comments have their marks, and lines their indentation. */
const example = (file: string) => readFileSync(`../../deploy/examples/${file}`, "utf8").replace(/\s+/g, " ");
const lines = (language: string) => HOW_TO.find((is) => is.name === language)?.lines ?? "";

test("what is shown is what the examples do, which the tests run", () => {
  expect(example("python/app.py")).toContain("opentelemetry-instrument uvicorn app:app");
  expect(lines("Python")).toContain("opentelemetry-instrument uvicorn app:app");
  const node = "node --require @opentelemetry/auto-instrumentations-node/register app.cjs";
  expect(example("node/app.cjs")).toContain(node);
  expect(lines("Node")).toContain(node);
  expect(lines("Node")).toContain("OTEL_METRICS_EXPORTER=otlp");
  const rust = example("rust/src/main.rs");
  for (const part of [
    "MetricExporter::builder().with_tonic().build()?",
    '.f64_histogram("http.server.request.duration").with_unit("s")',
  ]) {
    expect(rust).toContain(part);
    expect(lines("Rust")).toContain(part);
  }
  for (const line of [
    "OTEL_METRIC_EXPORT_INTERVAL=1000",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=base2_exponential_bucket_histogram",
  ]) {
    expect(example("README.md")).toContain(line);
    for (const language of ["Python", "Node", "Java"]) expect(lines(language)).toContain(line);
  }
});

test("every language of the list is there, each with where it sends to", () => {
  expect(HOW_TO.map((is) => is.name)).toEqual(["Shell", "Python", "Node", "Go", "Java", "Rust"]);
  for (const is of HOW_TO) expect(is.lines).toMatch(/127\.0\.0\.1:431[78]/);
});

/**
 * How applications of each language send their first request. Python, Node and Rust are the applications of deploy/examples,
 * which tests run to the count; a test of the browser sends the one of the shell.
 */

/** Where daemons take what the SDKs of OpenTelemetry send, unless `otlp_listen` and `otlp_http_listen` are set. */
export const RECEIVER = { grpc: "127.0.0.1:4317", http: "127.0.0.1:4318" } as const;

/** How one language does it. */
export interface HowTo {
  name: string;
  /** What is copied. */
  lines: string;
  /** What is to be known of it. */
  note: string;
}

/** Each second and with sharp percentiles; without these a request is shown too, up to a minute later. */
const LIVE = `export OTEL_METRIC_EXPORT_INTERVAL=1000 OTEL_TRACES_EXPORTER=none OTEL_LOGS_EXPORTER=none
export OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=base2_exponential_bucket_histogram`;

const POINT =
  '{"startTimeUnixNano": "\'$(date +%s)\'000000000", "timeUnixNano": "\'$(date +%s%N)\'", "count": "1", "sum": 0.02, "bucketCounts": ["0", "1", "0"], "explicitBounds": [0.01, 0.05], "attributes": [{"key": "http.route", "value": {"stringValue": "/hello"}}, {"key": "http.response.status_code", "value": {"intValue": "200"}}]}';

export const HOW_TO: readonly HowTo[] = [
  {
    name: "Shell",
    lines: `curl -s http://${RECEIVER.http}/v1/metrics -H 'content-type: application/json' -d '{"resourceMetrics": [{
  "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "hello"}}]},
  "scopeMetrics": [{"metrics": [{"name": "http.server.request.duration", "unit": "s",
    "histogram": {"aggregationTemporality": 1, "dataPoints": [
      ${POINT}]}}]}]}]}'`,
    note: "Sends one request of 20 ms to the route /hello, without an application.",
  },
  {
    name: "Python",
    lines: `pip install opentelemetry-distro opentelemetry-exporter-otlp && opentelemetry-bootstrap -a install
export OTEL_SERVICE_NAME=shop OTEL_EXPORTER_OTLP_ENDPOINT=http://${RECEIVER.grpc}
${LIVE}
opentelemetry-instrument uvicorn app:app`,
    note: "Nothing changes in the code. By gRPC.",
  },
  {
    name: "Node",
    lines: `npm install @opentelemetry/api @opentelemetry/auto-instrumentations-node
export OTEL_SERVICE_NAME=orders OTEL_METRICS_EXPORTER=otlp OTEL_EXPORTER_OTLP_ENDPOINT=http://${RECEIVER.http}
${LIVE}
node --require @opentelemetry/auto-instrumentations-node/register app.cjs`,
    note: "Nothing changes in the code. By HTTP.",
  },
  {
    name: "Go",
    lines: `// otelhttp and otlpmetricgrpc of go.opentelemetry.io; run it with
// OTEL_SERVICE_NAME=shop OTEL_EXPORTER_OTLP_ENDPOINT=http://${RECEIVER.grpc} OTEL_METRIC_EXPORT_INTERVAL=1000
exporter, err := otlpmetricgrpc.New(ctx)
if err != nil {
	log.Fatal(err)
}
otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(exporter))))
log.Fatal(http.ListenAndServe(":8080", otelhttp.NewHandler(mux, "server")))`,
    note: "By gRPC. Not among the applications that Starling's tests run.",
  },
  {
    name: "Java",
    lines: `export OTEL_SERVICE_NAME=shop OTEL_EXPORTER_OTLP_ENDPOINT=http://${RECEIVER.http}
${LIVE}
java -javaagent:opentelemetry-javaagent.jar -jar app.jar`,
    note: "Nothing changes in the code. By HTTP. Not among the applications that Starling's tests run.",
  },
  {
    name: "Rust",
    lines: `// opentelemetry-otlp and opentelemetry_sdk; run it with
// OTEL_SERVICE_NAME=basket OTEL_EXPORTER_OTLP_ENDPOINT=http://${RECEIVER.grpc} OTEL_METRIC_EXPORT_INTERVAL=1000
let exporter = opentelemetry_otlp::MetricExporter::builder().with_tonic().build()?;
let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter).build();
let duration = provider.meter("basket").f64_histogram("http.server.request.duration").with_unit("s").build();
// After each request:
duration.record(began.elapsed().as_secs_f64(), &[KeyValue::new("http.route", "/basket/{id}")]);`,
    note: "By gRPC. The whole application, with the layer that records, is deploy/examples/rust.",
  },
];

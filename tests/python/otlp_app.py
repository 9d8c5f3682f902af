"""An application instrumented with the OpenTelemetry SDK. Records known requests, exports, and says what it did.

Usage: otlp_app.py PROTOCOL ENDPOINT TEMPORALITY HISTOGRAM REQUESTS
  PROTOCOL     grpc | http, as OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
  TEMPORALITY  cumulative | delta
  HISTOGRAM    explicit | exponential
Prints one JSON object with the counts per protocol. Every fifth request fails; request i takes 1 + i % 100 ms.
"""

import json
import sys

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as OverGrpc
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as OverHttp
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, ExponentialBucketHistogramAggregation

PROTOCOLS = {
    "http1": {"network.protocol.name": "http", "network.protocol.version": "1.1"},
    "http2": {"network.protocol.name": "http", "network.protocol.version": "2"},
    "http3": {"network.protocol.name": "http", "network.protocol.version": "3"},
    "websocket": {"network.protocol.name": "websocket", "network.protocol.version": "13"},
}


def exporter_of(protocol: str, endpoint: str, **more):
    if protocol == "http":
        return OverHttp(endpoint=f"{endpoint}/v1/metrics", timeout=10, **more)
    return OverGrpc(endpoint=endpoint, insecure=True, timeout=10, **more)


def main(protocol: str, endpoint: str, temporality: str, histogram: str, requests: int) -> None:
    chosen = {"cumulative": AggregationTemporality.CUMULATIVE, "delta": AggregationTemporality.DELTA}[temporality]
    shape = {"explicit": ExplicitBucketHistogramAggregation, "exponential": ExponentialBucketHistogramAggregation}
    exporter = exporter_of(
        protocol,
        endpoint,
        preferred_temporality={Histogram: chosen, Counter: chosen},
        preferred_aggregation={Histogram: shape[histogram]()},
    )
    # Exports come by force_flush alone, so that the test decides their number.
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider(metric_readers=[reader])
    meter = provider.get_meter("starling-test")
    http = meter.create_histogram("http.server.request.duration", unit="s")
    rpc = meter.create_histogram("rpc.server.call.duration", unit="s")
    jobs = meter.create_counter("app.jobs", unit="{job}")

    done = {name: {"requests": 0, "errors": 0, "sum_ms": 0} for name in [*PROTOCOLS, "grpc"]}
    for flush in range(3):
        for i in range(requests):
            failed = i % 5 == 0
            milliseconds = 1 + i % 100
            for name in done:
                if name == "grpc":
                    attributes = {"rpc.system.name": "grpc", **({"error.type": "INTERNAL"} if failed else {})}
                    rpc.record(milliseconds / 1000, attributes)
                else:
                    attributes = {**PROTOCOLS[name], "http.response.status_code": 500 if failed else 200}
                    http.record(milliseconds / 1000, attributes)
                done[name]["requests"] += 1
                done[name]["errors"] += failed
                done[name]["sum_ms"] += milliseconds
            jobs.add(1, {"queue": "mail"})
        if not provider.force_flush(10_000):
            raise SystemExit(f"export {flush} failed")
    print(json.dumps(done), flush=True)
    provider.shutdown(timeout_millis=5_000)


main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))

"""An application instrumented with the Prometheus client, that is scraped.

Usage: prometheus_app.py ROUNDS [CERTIFICATE KEY TOKEN]
With a certificate it serves by TLS, to whoever has the token. Says its port on one line of JSON, waits until it was scraped, works, says what it did on another, and goes on serving until
its input ends.
"""

import json
import ssl
import sys
import threading
import time
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary, make_wsgi_app


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def main(rounds: int, secured: list[str]) -> None:
    registry = CollectorRegistry()
    jobs = Counter("app_jobs", "Jobs.", ["queue"], registry=registry)
    requests = Counter("http_requests", "Requests.", ["code"], registry=registry)
    took = Histogram("http_request_duration_seconds", "Latency.", ["code"], registry=registry)
    sizes = Histogram("app_sizes_bytes", "Sizes.", buckets=[100, 1000, 10000], registry=registry)
    depth = Gauge("app_depth", "Depth.", registry=registry)
    Summary("app_summary", "A summary.", registry=registry).observe(1)
    Info("app_build", "The build.", registry=registry).info({"version": "7"})
    # Present with 0 from the beginning, as its documentation advises.
    for code in ("200", "500"):
        requests.labels(code)
        took.labels(code)
    # From before the first scrape; its `_created` says that it began after the daemon did.
    jobs.labels("mail").inc(1000)

    application = make_wsgi_app(registry)
    scrapes = zipped = 0

    def counted(environ, start_response):
        nonlocal scrapes, zipped
        if secured and environ.get("HTTP_AUTHORIZATION") != f"Bearer {secured[2]}":
            start_response("401 Unauthorized", [])
            return [b"who is it?"]

        def started(status, headers):
            nonlocal zipped
            zipped += ("Content-Encoding", "gzip") in headers
            return start_response(status, headers)

        answer = application(environ, started)
        scrapes += 1
        return answer

    server = make_server("127.0.0.1", 0, counted, handler_class=Quiet)
    if secured:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(secured[0], secured[1])
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_port}), flush=True)
    while scrapes < 1:
        time.sleep(0.01)

    done = {"counts": {"app_jobs_total": 1000}, "requests": 0, "errors": 0, "sizes": 0}
    for i in range(rounds):
        jobs.labels("mail" if i % 2 else "letters").inc(2)
        done["counts"]["app_jobs_total"] += 2
        failed = i % 5 == 0
        code = "500" if failed else "200"
        requests.labels(code).inc()
        took.labels(code).observe(0.001 * (1 + i % 100))
        done["requests"] += 1
        done["errors"] += failed
        sizes.observe(50 * i)
        done["sizes"] += 1
        if i % 100 == 99:
            time.sleep(0.3)
    depth.set(12.5)
    done["zipped"] = zipped
    print(json.dumps(done), flush=True)
    sys.stdin.read()


main(int(sys.argv[1]), sys.argv[2:])

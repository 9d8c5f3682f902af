"""An application that counts by StatsD and DogStatsD, through the clients people use. Says what it sent.

Usage: statsd_app.py PORT DATAGRAM_SOCKET STREAM_SOCKET ROUNDS
Prints one JSON object: counters and numbers of timings by name, and their sums in nanoseconds.
"""

import json
import sys
import time

import statsd
from datadog.dogstatsd import DogStatsd


def main(port: int, datagrams: str, streams: str, rounds: int) -> None:
    sent = {"counts": {}, "timings": {}}

    def count(name: str, value: int) -> None:
        sent["counts"][name] = sent["counts"].get(name, 0) + value

    def timed(name: str, milliseconds: float) -> None:
        timings = sent["timings"].setdefault(name, {"count": 0, "sum_ns": 0})
        timings["count"] += 1
        timings["sum_ns"] += round(milliseconds * 1_000_000)

    plain = statsd.StatsClient("127.0.0.1", port)
    dogs = {
        "udp": DogStatsd(host="127.0.0.1", port=port, constant_tags=["service:shop"], disable_telemetry=True),
        # The kernel lets ten datagrams wait on a unix socket (net.unix.max_dgram_qlen); without a timeout the client drops the
        # others itself.
        "datagrams": DogStatsd(socket_path=f"unixgram://{datagrams}", socket_timeout=5, disable_telemetry=True),
        "streams": DogStatsd(
            socket_path=f"unixstream://{streams}", socket_timeout=5, disable_telemetry=True, disable_buffering=False
        ),
    }
    for i in range(rounds):
        plain.incr("plain.jobs", 1 + i % 3)
        count("plain.jobs", 1 + i % 3)
        plain.timing("plain.took", 0.25 + i % 50)
        timed("plain.took", 0.25 + i % 50)
        with plain.pipeline() as pipe:
            pipe.incr("plain.packed")
            pipe.incr("plain.packed", 2)
        count("plain.packed", 3)
        for way, dog in dogs.items():
            dog.increment(f"dog.{way}.jobs", 2)
            count(f"dog.{way}.jobs", 2)
            dog.timing(f"dog.{way}.took", 1.5 + i % 20)
            timed(f"dog.{way}.took", 1.5 + i % 20)
            dog.set(f"dog.{way}.users", i % 7)
        # What the receive buffer of 200 kB holds is not outrun.
        if i % 50 == 49:
            for dog in dogs.values():
                dog.flush()
            time.sleep(0.02)
    plain.gauge("plain.depth", 10)
    plain.gauge("plain.depth", -4, delta=True)
    dogs["udp"].gauge("dog.degrees", -5)
    dogs["udp"].event("deploy", "a new version")
    dogs["udp"].service_check("db", 0)
    for dog in dogs.values():
        dog.flush()
    print(json.dumps(sent), flush=True)


main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))

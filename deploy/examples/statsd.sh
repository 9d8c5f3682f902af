#!/usr/bin/env bash
# Sends a hundred sales to StatsD on this host, in one datagram each: bash alone is enough.
set -euo pipefail
for _ in $(seq 100); do
  echo "shop.sold:1|c|#service:till" > "/dev/udp/127.0.0.1/${STATSD_PORT:-8125}"
done

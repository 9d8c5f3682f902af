"""A page that Prometheus could scrape, by its own client. The daemon scrapes it with

  scrape_targets = ["127.0.0.1:8003 job=kitchen"]
"""

import os
import time

from prometheus_client import Counter, start_http_server

MEALS = Counter("meals_cooked", "Meals that left the kitchen.", ["dish"])

start_http_server(int(os.environ.get("PORT", "8003")), "127.0.0.1")
# The daemon has to see a counter once before it can see it grow.
MEALS.labels("soup")
time.sleep(3)
for _ in range(50):
    MEALS.labels("soup").inc()
time.sleep(3600)

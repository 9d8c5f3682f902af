// TEST FEEDER: INVENTED answers of /api/v1/services: one service that is well, one that fails, one without a name, one with a
// name that is long and turns the direction of writing, and what had no place of its own.

export const HOSTILE = `<b>"&\u202e${"x".repeat(300)}`;

const latency = (p50Micros, p99Micros, count, errorBoundPpm = 26_000) => ({
  p50Micros,
  p95Micros: (p50Micros + p99Micros) / 2,
  p99Micros,
  p999Micros: p99Micros * 2,
  meanMicros: p50Micros * 1.2,
  maxMicros: p99Micros * 3,
  count,
  errorBoundPpm,
});

const served = (rate, failed, is, nodes = 3) => ({
  requestsPerSecond: rate,
  errorsPerSecond: rate * failed,
  errorRatio: failed,
  requestsPerSecondByStatus:
    failed > 0 ? { "2xx": rate * (1 - failed), "5xx": rate * failed } : { "2xx": rate },
  latency: is,
  nodes,
});

const routesOf = (service) =>
  service === HOSTILE
    ? [{ route: `/${HOSTILE}`, ...served(20, 0, null) }]
    : [
        { route: "/item/{number}", ...served(80, 0.05, latency(4_000, 90_000, 4_800)) },
        {
          route: "GET /a/very/long/{template}/that/goes/on/and/on/and/on/and/on",
          ...served(20, 0, latency(900, 2_000, 41)),
        },
        { route: "", ...served(10, 0, latency(900, 2_000, 600)) },
        { route: "_other", ...served(10, 0, null) },
      ];

const SERVICES = [
  ["shop", served(120, 0.033, latency(3_900, 81_000, 7_200))],
  ["orders", served(60, 0, latency(1_200, 9_000, 3_600, 1_500_000))],
  ["unknown_service:java", served(5, 0, latency(1_000, 2_000, 60))],
  [HOSTILE, served(2, 0, null, 1)],
  ["_other", served(1, 0, null)],
];

export function services(query) {
  const asked = query.get("service");
  const to = Math.floor(Date.now() / 1000) * 1000 - 2_000;
  const window = Number(query.get("window") || 60);
  const shown = SERVICES.filter(([name]) => asked === null || asked === name);
  return {
    from: new Date(to - window * 1000).toISOString(),
    to: new Date(to).toISOString(),
    seconds: window,
    all: served(188, 0.021, latency(2_500, 70_000, 11_280)),
    services: shown.map(([service, all]) => ({
      service,
      ...all,
      routes: routesOf(service).slice(0, Number(query.get("routes") || 10)),
      routesLeftOut: 3,
      rest: served(0.5, 0, null),
    })),
    servicesLeftOut: 0,
    rest: null,
  };
}

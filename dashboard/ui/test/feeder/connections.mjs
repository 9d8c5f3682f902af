// TEST FEEDER: INVENTED answers of /api/v1/connections/report: 30 nodes of which one fails, ports, a name that is hostile.

const HOSTILE = `<b>"&\u202e${"x".repeat(60)}`;
const node = (i) => (i === 3 ? HOSTILE : `node-r01-${String(i).padStart(2, "0")}`);

export function connections(query) {
  const one = query.get("node");
  return {
    timestamp: new Date((Math.floor(Date.now() / 1_000) - 2) * 1_000).toISOString(),
    of: one ?? query.get("group") ?? "all nodes",
    states: [
      { state: "established", sockets: 1_148_345 },
      { state: "time_wait", sockets: 62_866 },
      { state: "close_wait", sockets: 0 },
    ],
    ports: [
      { port: "443", established: 1_000_000, healthy: 980_000, warning: 20_000, warningRatio: 0.02 },
      { port: "5432", established: 48_000, healthy: 48_000, warning: 0, warningRatio: 0 },
      { port: "_other", established: 100_345, healthy: 100_000, warning: 345, warningRatio: 0.003438 },
    ],
    offenders: one
      ? []
      : [2, 3].map((i) => ({
          node: node(i),
          warning: i === 2 ? 12_000 : null,
          failedLastMinute: 900 * i,
          connections: 40_000,
          ratio: 0.3,
          because: "refused, reset or timed out",
        })),
    nodes: Array.from({ length: 30 }, (_, i) => ({
      node: node(i),
      connections: i === 29 ? null : 40_000 - i,
    })),
  };
}

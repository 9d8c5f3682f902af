// INVENTED alerts of the test feeder: what is open, and the JSON endpoints of alerts, silences, episodes and rules.
// Acknowledging and silencing work, for all that look at this feeder.

/** `limit` texts and numbers of a rule, with what to do. */
const RULES = [
  {
    rule: "node-slow",
    severity: 4,
    value: "6.1",
    limit: "3",
    worst: "7.4",
    unit: "number",
    age: 124,
    says: "has a p99 latency 6.1 times that of its peers",
    expression: "p99(traffic.duration[60s]) / peers(p99(traffic.duration[60s]))",
    todo: "Take it out of the balancer if it can be spared; then see its CPU, disk and neighbours.",
  },
  {
    rule: "node-gone",
    severity: 3,
    value: "38 s",
    limit: "3.5 s",
    worst: "38 s",
    unit: "time",
    age: 38,
    says: "is gone: last heard 09:41:22 UTC, 38 s ago",
    expression: "node.silent_seconds",
    todo: "See whether the host runs and is reached; then the service starling-node on it and its log.",
  },
  {
    rule: "disk-full",
    severity: 2,
    value: "91.2 %",
    limit: "90 %",
    worst: "91.2 %",
    unit: "share",
    age: 14_640,
    says: "has /var/lib 91.2 % full",
    expression: "system.filesystem.mount.utilization",
    attribute: { key: "system.filesystem.mountpoint", value: "/var/lib" },
    todo: "Remove or move what is not needed, or make it larger, before writes fail.",
  },
  {
    rule: "errors",
    severity: 2,
    value: "1.4 %",
    limit: "1 %",
    worst: "2.2 %",
    unit: "share",
    age: 252,
    cluster: true,
    says: "fails 1.4 % of its grpc requests",
    expression: "traffic.errors[60s] / traffic.requests[60s]",
    attribute: { key: "protocol", value: "grpc" },
    todo: "See whether one node has them all (alerts of nodes name it) or every node: then look at what they share.",
  },
];

const SEVERITIES = ["unknown", "info", "warning", "error", "critical"];

/** At most `count` alerts over the nodes of `fleet`. `unavailable` says why nothing is known. */
export function makeAlerts({ fleet, count, started, unavailable = "" }) {
  const hot = fleet[Math.min(fleet.length - 1, 127)];
  const alerts = Array.from({ length: fleet.length === 0 ? 0 : count }, (_, i) => {
    const of = RULES[i % RULES.length];
    const node = of.cluster
      ? undefined
      : i < RULES.length
        ? (fleet.find((n) => n.state === 2 && of.rule === "node-gone") ?? hot)
        : fleet[i % fleet.length];
    const id = `${(0xa1e27000 + i).toString(16).padStart(16, "0")}`;
    const subject = node?.id ?? "";
    return {
      of,
      message: {
        episode: {
          episodeId: id,
          rule: of.rule,
          scope: node ? 3 : 1,
          subject,
          attributes: of.attribute ? [of.attribute] : [],
          state: 2,
          severity: of.severity,
          sinceTick: started - of.age,
        },
        sentence: `${node?.id ?? "the cluster"} ${of.says}`,
        resolution: of.todo,
        valueText: of.value,
        worstText: of.worst,
        limitText: of.limit,
        unit: of.unit,
        above: true,
      },
    };
  });
  const open = (node) => {
    const list = alerts.filter(({ message }) => node === undefined || message.episode.subject === node);
    const quiet = ({ message }) => (message.acknowledgement ? 1 : 0);
    list.sort((a, b) => quiet(a) - quiet(b) || b.of.severity - a.of.severity);
    return {
      alerts: list.slice(0, 50).map(({ message }) => message),
      open: list.length,
      rules: 27,
      unavailable,
    };
  };
  const time = (tick) => new Date(tick * 1000).toISOString();
  const silences = [];
  /** Whether all matchers of one silence hold; only equality is known here. */
  const covers = (matchers, { message: { episode } }) =>
    matchers.every(({ key, value }) =>
      key === "rule"
        ? episode.rule === value
        : ["node", "subject"].includes(key)
          ? episode.subject === value
          : (episode.attributes ?? []).some((is) => is.key === key && is.value === value),
    );
  const now = () => Date.now() / 1000;
  const silencing = (alert) =>
    silences
      .filter((is) => Date.parse(is.ends) / 1000 > now() && covers(is.matchers, alert))
      .map((is) => is.id);
  const details = (alert) => {
    const { of, message } = alert;
    const { episode, acknowledgement: ack } = message;
    const silencedBy = silencing(alert);
    return {
      id: episode.episodeId,
      severity: SEVERITIES[of.severity],
      metric: of.rule,
      state: silencedBy.length > 0 ? "silenced" : ack ? "acknowledged" : "firing",
      scope: of.cluster ? "cluster" : "node",
      subject: episode.subject || null,
      outcome: null,
      worst: 0.98,
      sentence: message.sentence,
      description: "Invented by the test feeder.",
      resolution: of.todo,
      expression: of.expression,
      runbook: "https://wiki.example/runbook",
      node: episode.subject || null,
      since: time(episode.sinceTick),
      firedAt: time(episode.sinceTick + 5),
      endedAt: null,
      noDataSince: null,
      direction: "above",
      unit: of.unit,
      currentText: of.value,
      worstText: of.worst,
      thresholdText: of.limit,
      currentValue: 0.97,
      valueAtFiring: 0.96,
      threshold: 0.95,
      clearThreshold: 0.9,
      severities: [{ since: time(episode.sinceTick), severity: SEVERITIES[of.severity] }],
      crossings: 1,
      nodesReporting: 247,
      nodesExpected: 248,
      attributes: of.attribute ? { [of.attribute.key]: of.attribute.value } : {},
      labels: { team: "edge" },
      acknowledgement: ack
        ? {
            who: ack.author,
            comment: ack.comment,
            at: new Date(Number(ack.atUnixMs)).toISOString(),
            until: null,
          }
        : null,
      silencedBy,
      chart: of.cluster
        ? {
            series: ["errors", "requests"].map((name) => ({
              name: `traffic.${name}`,
              attributes: { protocol: "grpc" },
              statistic: "value",
            })),
            limit: 0.01,
            unit: "share",
          }
        : of.rule === "disk-full"
          ? {
              series: [
                {
                  name: "system.filesystem.mount.utilization",
                  attributes: { "system.filesystem.mountpoint": "/var/lib" },
                  statistic: "value",
                },
              ],
              limit: 0.9,
              unit: "share",
            }
          : null,
      // The slow node is told as what is behind the errors of all.
      children: of.cluster ? [alerts[0].message.episode.episodeId] : [],
      parent:
        alert === alerts[0]
          ? (alerts.find((one) => one.of.cluster)?.message.episode.episodeId ?? null)
          : null,
    };
  };
  /** Two pages of what is over. */
  const past = (page) => {
    const over = Array.from({ length: 80 }, (_, i) => {
      const of = RULES[i % RULES.length];
      const node = of.cluster ? "" : (fleet[(i * 7) % Math.max(1, fleet.length)]?.id ?? "");
      const since = started - 3_600 * (i + 1);
      const episode = {
        episodeId: `e${i}`.padStart(16, "0"),
        rule: of.rule,
        subject: node,
        sinceTick: since,
        severity: of.severity,
      };
      const alert = details({ of, message: { episode, sentence: `${node || "the cluster"} ${of.says}` } });
      return {
        ...alert,
        state: "cleared",
        endedAt: time(since + 60 + 37 * i),
        outcome: "recovered",
        children: [],
      };
    });
    return page === "older"
      ? { episodes: over.slice(50), nextPage: null }
      : { episodes: over.slice(0, 50), nextPage: "older" };
  };
  const rules = () => ({
    rules: RULES.map((of) => ({
      name: of.rule,
      file: null,
      scope: of.cluster ? "cluster" : "node",
      expression: of.expression,
      direction: "above",
      levels: [{ severity: SEVERITIES[of.severity], fire: 0.95, clear: 0.9 }],
      forSeconds: 30,
      holdSeconds: 10,
      description: "Invented by the test feeder.",
      open: alerts.filter((alert) => alert.of === of).length,
      unit: of.unit,
    })),
    mistakes: [],
    refusedSince: null,
  });
  const silence = (body) => {
    if (!body.preview && !body.who) {
      return [400, { error: { message: "who is missing: say who wants it quiet", field: "who" } }];
    }
    const of = { matchers: body.matchers, who: body.who ?? "", comment: body.comment ?? "" };
    const made = { ...of, id: null, starts: time(now()), ends: time(now() + body.forSeconds) };
    if (!body.preview) silences.unshift({ ...made, id: `s${silences.length + 1}` });
    const covered = alerts.filter((alert) => covers(body.matchers, alert));
    return [200, { silence: made, covers: covered.map((alert) => details(alert)) }];
  };
  /** Status and body, or null when the path is of something else. */
  const answer = (method, path, body, query) => {
    if (path === "/api/v1/alerts") {
      return [200, { unavailable: unavailable || null, rules: 27, alerts: alerts.map(details) }];
    }
    if (path === "/api/v1/episodes") return [200, past(query.get("page"))];
    if (path === "/api/v1/rules") return [200, rules()];
    if (path === "/api/v1/silences") return method === "POST" ? silence(body) : [200, { silences }];
    const quiet = silences.find((is) => path === `/api/v1/silences/${is.id}`);
    if (quiet && method === "DELETE") {
      quiet.ends = time(now());
      return [200, quiet];
    }
    const [, id, ack] = /^\/api\/v1\/alerts\/([0-9a-f]{16})(\/ack)?$/.exec(path) ?? [];
    const found = alerts.find(({ message }) => message.episode.episodeId === id);
    if (id === undefined) return null;
    if (!found) return [404, { error: { message: `no episode is called "${id}"` } }];
    if (ack && method === "POST") {
      if (!body.who)
        return [400, { error: { message: "who is missing: say who looks after it", field: "who" } }];
      found.message.acknowledgement = {
        author: body.who,
        comment: body.comment,
        atUnixMs: BigInt(Date.now()),
      };
    }
    if (ack && method === "DELETE") delete found.message.acknowledgement;
    return [200, details(found)];
  };
  return { open, answer };
}

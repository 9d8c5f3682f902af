// TEST FEEDER: INVENTED answers of /api/v1/metrics/charts, heatmap/... and historical, out of the same formulas as the
// live data. The holes of the live data are there by the second; history also has one of two hours, a day ago.
import * as data from "./data.mjs";

const HOUR = 3600;
/** Seconds that are read of a long step: enough for a mean and its extremes. */
const READ = 4;
const METRICS = {
  latency: "latency.p99",
  requests: "rps.total",
  errors: "errors.total",
  cpu: "cpu.total",
  memory: "memory.used_ratio",
};
const time = (tick) => new Date(tick * 1000).toISOString();

/** How the load of a day rises and falls. */
const daily = (tick) => 1 + 0.3 * Math.sin(((tick % 86_400) / 86_400) * 2 * Math.PI - 2);

export function makePast({ fleet, started, days, without }) {
  const begins = started - days * 86_400;
  const outage = [started - 26 * HOUR, started - 24 * HOUR];
  const known = (tick) =>
    tick >= begins &&
    tick <= Math.floor(Date.now() / 1000) &&
    !(tick >= outage[0] && tick < outage[1]) &&
    !data.missing(tick);

  const cache = new Map();
  const columnsAt = (tick, node) => {
    const key = `${tick} ${node ?? ""}`;
    let columns = cache.get(key);
    if (columns === undefined) {
      columns = computed(tick, node);
      if (cache.size > 50_000) cache.clear();
      cache.set(key, columns);
    }
    return columns;
  };
  const computed = (tick, node) => {
    const one = node && fleet.find((n) => n.id === node);
    const columns = one ? data.nodeColumns(tick, one, fleet) : data.overviewColumns(tick, fleet);
    for (const name of Object.keys(columns)) {
      if (/^(rps|errors|network|cpu|latency)/.test(name))
        columns[name] *= name.startsWith("cpu") ? 1 : daily(tick);
    }
    // A peak of one second, so that one sees whether it stays.
    if (tick % (5 * HOUR) === 1234) columns["rps.total"] *= 1.5;
    return columns;
  };

  /** The known seconds of a step that are read. */
  const read = (from, to) => {
    const every = Math.max(1, Math.floor((to - from + 1) / READ));
    const ticks = [];
    for (let t = from; t <= to; t += every) ticks.push(t);
    for (let t = from; t <= to; t++) if (t % (5 * HOUR) === 1234 && !ticks.includes(t)) ticks.push(t);
    return ticks.filter(known);
  };

  const completeness = (steps) => {
    const first = steps.findIndex((s) => s.ticks.length > 0);
    const seconds = steps.reduce((a, s) => a + s.seconds, 0);
    return {
      nodesReporting: seconds > 0 ? fleet.length - 1 : null,
      nodesExpected: seconds > 0 ? fleet.length : null,
      seconds,
      secondsExpected: steps.reduce((a, s) => a + s.expected, 0),
      firstData: first > 0 ? time(steps[first].from) : null,
      missing: without ? [{ aggregatorId: "agg-2", reason: "does not answer" }] : [],
    };
  };

  const stepsOf = (from, to, step) => {
    const steps = [];
    for (let t = Math.floor(from / step) * step; t <= to; t += step) {
      const end = Math.min(t + step - 1, to);
      const ticks = read(t, end);
      const expected = end - t + 1;
      steps.push({ from: t, ticks, expected, seconds: ticks.length === 0 ? 0 : step === 1 ? 1 : expected });
    }
    return steps;
  };

  const charts = (query, from, to) => {
    const step = Number(query.get("step") ?? 60);
    const names = query.get("columns").split(",");
    const steps = stepsOf(from, to, step);
    const values = steps.map((s) => s.ticks.map((t) => columnsAt(t, query.get("node"))));
    const of = (name, pick) =>
      values.map((seconds) => (seconds.length > 0 ? pick(seconds.map((c) => c[name] ?? null)) : null));
    const mean = (v) => v.reduce((a, b) => a + b, 0) / v.length;
    return {
      stepSeconds: step,
      points: { tick: steps.map((s) => s.from), seconds: steps.map((s) => s.seconds) },
      columns: names.map((name) => {
        const band = step > 1 && !name.startsWith("latency");
        return {
          name,
          values: of(name, mean),
          min: band ? of(name, (v) => Math.min(...v)) : null,
          max: band ? of(name, (v) => Math.max(...v)) : null,
        };
      }),
      completeness: completeness(steps),
    };
  };

  const heatmap = (metric, query, from, to) => {
    const step = Math.max(1, Math.ceil((to - from + 1) / Number(query.get("columns") ?? 120)));
    const steps = stepsOf(from, to, step);
    const n = Number(query.get("rows") ?? 24);
    const top = metric === "latency" ? 500_000 : metric === "errors" ? 4000 : 9e6;
    const bound = (i) => (metric === "latency" ? 100 * (top / 100) ** (i / (n - 1)) : (top * i) / (n - 1));
    const cell = (lower, upper, { ticks, expected }) => {
      if (ticks.length === 0) return null;
      if (metric !== "latency") {
        const name = metric === "errors" ? "errors.total" : "rps.total";
        const inside = ticks.filter((t) => {
          const v = columnsAt(t, query.get("node"))[name];
          return v >= lower && (upper === null || v < upper);
        });
        return Math.round((inside.length * expected) / ticks.length);
      }
      // Log-normal around the median, with a second hill where the 99th percentile is.
      const c = columnsAt(ticks[0], query.get("node"));
      const middle = Math.log(Math.sqrt(lower * (upper ?? lower * 1.4)));
      const hill = (m, w) => Math.exp(-((middle - Math.log(m)) ** 2) / (2 * w * w));
      return Math.round(
        c["rps.total"] * step * (0.2 * hill(c["latency.p50"], 0.6) + 0.002 * hill(c["latency.p99"], 0.5)),
      );
    };
    const rows = Array.from({ length: n }, (_, i) => ({
      lower: bound(i),
      upper: i === n - 1 ? null : bound(i + 1),
    }));
    return {
      metric,
      stepSeconds: step,
      columns: steps.map((s) => ({ tick: s.from, seconds: s.seconds, secondsExpected: s.expected })),
      rows,
      grid: rows.map(({ lower, upper }) =>
        steps.map((s) => ({ timestamp: time(s.from), value: cell(lower, upper, s) })),
      ),
      completeness: completeness(steps),
    };
  };

  const historical = (query, from, to) => {
    const metric = query.get("metric");
    const name = METRICS[metric.replace(/^app\./, "")];
    const step = Math.max(1, Math.ceil((to - from + 1) / Number(query.get("points") ?? 300)));
    const steps = stepsOf(from, to, step);
    const all = [];
    const timeSeries = steps.map((s) => {
      const values = s.ticks.map((t) => columnsAt(t, query.get("node"))[name]);
      for (const [i, tick] of s.ticks.entries()) all.push({ tick, value: values[i] });
      const any = values.length > 0;
      return {
        tick: s.from,
        value: any ? values.reduce((a, b) => a + b, 0) / values.length : null,
        min: any && metric !== "latency" ? Math.min(...values) : null,
        max: any && metric !== "latency" ? Math.max(...values) : null,
      };
    });
    const average = all.length > 0 ? all.reduce((a, b) => a + b.value, 0) / all.length : null;
    const best = (better) => all.reduce((a, b) => (a === null || better(b.value, a.value) ? b : a), null);
    const [peak, low] = [best((a, b) => a > b), best((a, b) => a < b)];
    const evidence = `/api/v1/series?name=x&from=${to - 3600}&to=${to}`;
    return {
      from: time(from),
      to: time(to),
      average,
      peak: peak?.value ?? null,
      peakAt: peak && time(peak.tick),
      peakResolutionSeconds: 1,
      low: low?.value ?? null,
      lowAt: low && time(low.tick),
      standardDeviation:
        average === null
          ? null
          : Math.sqrt(all.reduce((a, b) => a + (b.value - average) ** 2, 0) / all.length),
      stepSeconds: step,
      timeSeries,
      comparisons: {
        periodBefore:
          average === null ? null : { average: average / 1.042, changeRatio: 0.042, countedIn: "" },
        weekAgo: { average: null, changeRatio: null, countedIn: "168 hours in UTC" },
      },
      insights:
        metric === "cpu" || average === null
          ? []
          : [
              {
                type: "level_shift",
                message: "Invented: it rose by 4.1 in the last hour.",
                rule: "invented",
                since: time(to - 3600),
                evidence,
              },
              {
                type: "new_peak",
                message: "Invented: the highest of seven days.",
                rule: "invented",
                since: time(to),
                evidence,
              },
            ],
      completeness: completeness(steps),
    };
  };

  /** One series of an alert: it rises beyond its limit in the last tenth of the time; a minute of it is missing. */
  const series = (query, from, to) => {
    const step = Math.max(1, Math.ceil((to - from + 1) / 600));
    const steps = stepsOf(from, to, step);
    const of = {
      "traffic.errors": (at, tick) => 100 * (at > 0.6 ? 0.014 : 0.003 + 0.002 * Math.sin(tick / 40)),
      "traffic.requests": () => 100,
      "system.filesystem.mount.utilization": (at) => 0.84 + 0.075 * at,
    }[query.get("name")];
    const value = (tick) => {
      const at = (tick - from) / (to - from);
      return of === undefined || (at > 0.3 && at < 0.33) ? null : of(at, tick);
    };
    return {
      stepSeconds: step,
      points: steps.map((s) => ({ tick: s.from })),
      series: [
        { statistics: [{ statistic: query.get("statistics"), values: steps.map((s) => value(s.from)) }] },
      ],
    };
  };

  return (path, query) => {
    if (path === "/api/v1/series" && !query.has("name")) {
      const series = Object.keys(METRICS).map((name) => ({
        name: `app.${name}`,
        attributes: {},
        kind: "gauge",
        unit: "1",
      }));
      return [200, { series, leftOut: 0 }];
    }
    const [from, to] = ["from", "to"].map((name) => Number(query.get(name)));
    if (!(to >= from && from > 0))
      return [400, { error: { message: "from: wanted: Unix seconds", field: "from" } }];
    const heat = /^\/api\/v1\/metrics\/heatmap\/(\w+)$/.exec(path);
    if (heat) return [200, heatmap(heat[1], query, from, to)];
    if (path === "/api/v1/metrics/charts") return [200, charts(query, from, to)];
    if (path === "/api/v1/series") return [200, series(query, from, to)];
    if (path === "/api/v1/metrics/historical") return [200, historical(query, from, to)];
    return [404, { error: { message: `nothing is served at ${path}` } }];
  };
}

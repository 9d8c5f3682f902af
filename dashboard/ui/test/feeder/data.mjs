// Synthetic data for tests of the page. Every value is a pure function of the second, so history needs no storage.

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const PROTOCOLS = ["http1", "http2", "http3", "websocket", "grpc"];
const BASE = { http1: 1.42e6, http2: 2.31e6, http3: 0.94e6, websocket: 0.19e6, grpc: 0.38e6 };
const MEAN = { http1: 2400, http2: 1700, http3: 1900, websocket: 900, grpc: 3800 };

/** Bound of error of percentiles, parts per million. */
let bound = 3906;
export function boundError(ppm) {
  bound = ppm ?? bound;
}

/** Seconds between two reports of the application that reports most seldom; undefined: each second. */
let every;
export function reportEvery(seconds) {
  every = seconds;
}

/** A number 0 to 1 that depends on its arguments only. */
export function noise(a, b = 0) {
  let h = (a * 374761393 + b * 668265263) | 0;
  h = Math.imul(h ^ (h >>> 13), 1274126177);
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32;
}

/** A slow wave, a faster one and a little noise around 1. */
function wave(tick, seed, size = 0.06) {
  const slow = Math.sin(tick / 170 + seed) * 0.6;
  const fast = Math.sin(tick / 23 + seed * 3) * 0.15;
  return 1 + size * (slow + fast + (noise(tick, seed) - 0.5) * 0.5);
}

/** Seconds that never arrived: a hole of 22 s every 10 minutes. */
export function missing(tick) {
  const t = tick % 600;
  return t > 120 && t < 143;
}

/** A rise that repeats, for one troubled node. */
function trouble(tick) {
  return Math.max(0, Math.sin(tick / 260)) ** 4;
}

/** Large fleets have racks of four, as the worst of real ones do. `silent`: a node that is silent, by its place; -1: none.
 * `blind`: one that cannot read its memory. `twin`: one whose name two machines have. */
export function makeFleet(count, silent = count > 30 ? 46 : -1, blind = -1, twin = -1) {
  const zones = count >= 12 ? ["a", "b", "c"] : [""];
  const racks = count > 500 ? Math.ceil(count / 4) : 12;
  const nodes = [];
  for (let i = 0; i < count; i++) {
    const zone = zones[Math.floor((i * zones.length) / count)];
    const rack = count >= 12 ? `r${String(1 + Math.floor((i * racks) / count)).padStart(2, "0")}` : "";
    nodes.push({
      id:
        count === 1
          ? "this-host"
          : `node-${rack || "x"}-${String(1 + (i % Math.ceil(count / racks))).padStart(2, "0")}`,
      zone,
      rack,
      role: i % 5 === 0 ? "edge" : "app",
      simulated: i > 0 && count < 60,
      index: i,
      cores: 32,
      fault: i === blind,
      clash: i === twin,
      state: i === silent ? 2 : count > 30 && i >= count - 3 ? 3 : 1,
    });
  }
  nodes.sort((a, b) => (a.id < b.id ? -1 : 1));
  return nodes;
}

const clashOf = (node) =>
  `another machine, at 10.0.0.2:5000, calls itself ${node.id} (it asked agg-1 and was refused); the stream that is shown comes from 10.0.0.1:4000`;

function hot(node) {
  return node.index % 83 === 60;
}

export function nodeCpu(node, tick) {
  const base =
    0.34 + noise(node.index, 7) * 0.28 + (node.rack === "r07" ? 0.18 : 0) - (node.rack === "r10" ? 0.14 : 0);
  return Math.min(0.99, base * wave(tick, node.index, 0.1) + (hot(node) ? 0.3 * trouble(tick) : 0));
}

/** Values of the overview's columns. */
export function overviewColumns(tick, fleet) {
  const c = measured(tick, fleet);
  // Without a node there are columns, and nothing in them.
  return fleet.length > 0 ? c : Object.fromEntries(Object.keys(c).map((name) => [name, Number.NaN]));
}

function measured(tick, fleet) {
  const scale = fleet.length / 248;
  const c = {};
  let total = 0;
  PROTOCOLS.forEach((p, i) => {
    c[`rps.${p}`] = BASE[p] * scale * wave(tick, i + 1);
    total += c[`rps.${p}`];
  });
  c["rps.total"] = total;
  c["errors.total"] = total * 0.00031 * wave(tick, 9, 0.5);
  c["latency.p50"] = 1800 * wave(tick, 11, 0.1);
  c["latency.p95"] = 6400 * wave(tick, 12, 0.15) * (1 + trouble(tick));
  c["latency.p99"] = 14_200 * wave(tick, 13, 0.2) * (1 + trouble(tick) * 2);
  c["latency.p99_minute"] = 14_600 * wave(tick, 13, 0.1) * (1 + trouble(tick) * 1.8);
  c["latency.p999"] = 48_100 * wave(tick, 14, 0.3) * (1 + trouble(tick) * 2);
  c["connections.total"] = 1_257_324 * scale * wave(tick, 15, 0.02);
  c["connections.active"] = 1_043_567 * scale * wave(tick, 16, 0.02);
  c["connections.healthy"] = c["connections.total"] * 0.912;
  c["connections.warning"] = c["connections.total"] * 0.017 * wave(tick, 17, 0.2);
  // Events of a minute, of which a busy host may have more than sockets.
  c["connections.error"] = c["connections.total"] * 1.2 * wave(tick, 18, 0.6);
  c["cpu.total"] = 0.618 * wave(tick, 19, 0.08);
  c["memory.used_ratio"] = 0.748 * wave(tick, 20, 0.01);
  c["network.received"] = 235e9 * scale * wave(tick, 21) * 0.125;
  c["network.sent"] = 306e9 * scale * wave(tick, 22) * 0.125;
  c["disk.read"] = 900 * MIB * scale * wave(tick, 23, 0.5);
  c["disk.written"] = 2600 * MIB * scale * wave(tick, 24, 0.4);
  c["load.1m"] = 19.8 * wave(tick, 25, 0.15);
  return c;
}

export function nodeColumns(tick, node, fleet) {
  const all = overviewColumns(tick, fleet);
  const c = {};
  const share = (0.8 + noise(node.index, 3) * 0.4) / fleet.length;
  const bad = hot(node) ? trouble(tick) : 0;
  for (const [k, v] of Object.entries(all)) {
    c[k] = /^(rps|errors|connections|network|disk)/.test(k)
      ? v * share * wave(tick, node.index + 40, 0.05)
      : v;
  }
  c["rps.total"] = PROTOCOLS.reduce((a, p) => a + c[`rps.${p}`], 0);
  c["errors.total"] *= 1 + bad * 12;
  for (const p of ["p50", "p95", "p99", "p999"]) c[`latency.${p}`] *= 1 + bad * 5;
  c["cpu.total"] = nodeCpu(node, tick);
  const used = 0.78 * wave(tick, node.index, 0.01);
  c["memory.used_ratio"] = used;
  c["memory.application"] = 64 * GIB * used * 0.7;
  c["memory.system"] = 64 * GIB * used * 0.13;
  c["memory.buffer_cache"] = 64 * GIB * 0.142 * wave(tick, 5, 0.03);
  c["memory.free"] = 64 * GIB - c["memory.application"] - c["memory.system"] - c["memory.buffer_cache"];
  c["load.1m"] = c["cpu.total"] * 30 * wave(tick, 6, 0.2);
  c["load.5m"] = c["cpu.total"] * 29 * wave(tick - 60, 6, 0.1);
  c["load.15m"] = c["cpu.total"] * 28 * wave(tick - 200, 6, 0.03);
  for (let k = 0; k < node.cores; k++) {
    const v =
      c["cpu.total"] * (0.75 + noise(node.index, k) * 0.5) * wave(Math.floor(tick / 4), k + node.index, 0.25);
    c[`core.${k}`] = Math.min(1, v);
  }
  return c;
}

function distribution(c) {
  const bounds = [];
  const counts = [];
  const n = 44;
  const lo = Math.log10(200);
  const hi = Math.log10(200_000);
  for (let i = 0; i <= n; i++) bounds.push(10 ** (lo + ((hi - lo) * i) / n));
  for (let i = 0; i < n; i++) {
    const m = lo + ((hi - lo) * (i + 0.5)) / n;
    const bump = (at, w, a) => a * Math.exp(-((m - Math.log10(at)) ** 2) / w);
    counts.push(
      c["rps.total"] * 60 * 0.13 * (bump(1700, 0.1, 1) + bump(5400, 0.08, 0.3) + bump(40_000, 0.1, 0.04)),
    );
  }
  return { bounds, counts };
}

function latency(c) {
  return {
    p50Micros: c["latency.p50"],
    p95Micros: c["latency.p95"],
    p99Micros: c["latency.p99"],
    p999Micros: c["latency.p999"],
    meanMicros: c["latency.p50"] * 1.3,
    maxMicros: c["latency.p999"] * 3,
    count: c["rps.total"] * 60,
    errorBoundPpm: bound,
  };
}

function shared(c, nodes, memoryTotal, cores) {
  const used = memoryTotal * c["memory.used_ratio"];
  const rx = c["network.received"];
  return {
    traffic: {
      requestsPerSecond: c["rps.total"],
      errorsPerSecond: c["errors.total"],
      reportedEverySeconds: every,
      errorRatio: c["errors.total"] / c["rps.total"],
      active: c["rps.total"] * 0.004,
      latency: latency(c),
      latencyLastMinute: latency(c),
      protocols: PROTOCOLS.map((name) => ({
        protocol: name,
        requestsPerSecond: c[`rps.${name}`],
        errorsPerSecond: c["errors.total"] * (name === "grpc" ? 0.3 : 0.17),
        ...(name === "grpc" ? { reportedEverySeconds: every } : {}),
        active: c[`rps.${name}`] * 0.21,
        latency: { meanMicros: MEAN[name], p99Micros: MEAN[name] * 7 },
      })),
    },
    connections: {
      byState: { time_wait: Math.round(c["connections.total"] * 0.05) },
      active: c["connections.active"],
      idle: c["connections.total"] - c["connections.active"],
      total: c["connections.total"],
      openedPerSecond: c["connections.total"] * 0.0031,
      resetsPerSecond: c["connections.total"] * 0.0002,
      retransmitRatio: 0.0042,
      healthy: Math.round(c["connections.healthy"]),
      warning: Math.round(c["connections.warning"]),
      error: Math.round(c["connections.error"]),
    },
    cpu: {
      utilizationRatio: c["cpu.total"],
      cores,
      ratioByMode: {
        user: c["cpu.total"] * 0.7,
        system: c["cpu.total"] * 0.26,
        iowait: 0.012,
        steal: 0.0004,
      },
      load1: c["load.1m"],
      load5: c["load.1m"] * 0.95,
      load15: c["load.1m"] * 0.9,
      utilizationRatioMax: 0.96,
    },
    memory: {
      totalBytes: memoryTotal,
      usedBytes: used,
      usedRatio: c["memory.used_ratio"],
      availableBytes: memoryTotal - used,
      applicationBytes: used * 0.697,
      systemBytes: used * 0.124,
      bufferCacheBytes: memoryTotal * 0.134,
      freeBytes: memoryTotal - used * 0.821 - memoryTotal * 0.134,
      swapTotalBytes: nodes * 4 * GIB,
      swapUsedBytes: nodes * 0.02 * GIB,
      hugePagesTotalBytes: nodes * 8 * GIB,
      hugePagesUsedBytes: nodes * 5 * GIB,
    },
    disk: { readBytesPerSecond: c["disk.read"], writtenBytesPerSecond: c["disk.written"] },
    network: { receivedBytesPerSecond: rx, sentBytesPerSecond: c["network.sent"] },
  };
}

function judged(c) {
  const failed = Math.round(c["connections.error"]);
  return {
    attempts: { opened: failed * 2, failed, reset: Math.round(failed / 10) },
    distribution: distribution(c),
    protocols: PROTOCOLS.map((name) => (name === "grpc" ? 3 : 1)),
  };
}

function verdict(fleet) {
  const silent = fleet.find((n) => n.state === 2);
  if (fleet.length === 1) {
    return { severity: 1, word: "Healthy", parts: [{ text: "1 of 1 nodes reporting." }] };
  }
  const bad = fleet.find(hot);
  return {
    severity: silent ? 3 : 1,
    word: silent ? "Partial" : "Healthy",
    parts: silent
      ? [
          { text: silent.id, nodeId: silent.id },
          { text: " is silent for 38 s; " },
          { text: bad?.id ?? "", nodeId: bad?.id ?? "" },
          { text: " is the busiest at 96% CPU." },
        ]
      : [{ text: `all ${fleet.length} nodes report.` }],
  };
}

export function overviewState(tick, fleet) {
  if (fleet.length === 0) {
    return {
      completeness: { nodesReporting: 0, nodesExpected: 0, ageMs: 420, copies: 1 },
      judged: {
        verdict: {
          severity: 2,
          word: "No data",
          parts: [{ text: "no node has reported in the last 15 minutes." }],
        },
      },
    };
  }
  const reporting = fleet.filter((n) => n.state === 1);
  const s = shared(
    overviewColumns(tick, fleet),
    reporting.length,
    reporting.length * 64 * GIB,
    reporting.length * 32,
  );
  const busy =
    fleet.length < 12
      ? fleet.slice(0, 1).flatMap((n) => Array(6).fill(n))
      : fleet.filter((n) => n.rack === "r07").slice(0, 5);
  s.cpu.busiest = busy.map((n, k) => ({
    nodeId: n.id,
    core: (n.index * 7 + k * 5) % 32,
    utilizationRatio: 0.99 - k * 0.015,
  }));
  return {
    sections: s,
    completeness: {
      nodesReporting: reporting.length,
      nodesExpected: fleet.length,
      ageMs: 420,
      copies: 2,
      // One node cannot read its memory.
      sections: { memory: reporting.length - fleet.filter((n) => n.fault).length, cpu: reporting.length },
      nodesMissing: fleet.filter((n) => n.state === 2).map((n) => n.id),
    },
    judged: { ...judged(overviewColumns(tick, fleet)), verdict: verdict(fleet) },
  };
}

export function nodeState(tick, node, fleet) {
  const c = nodeColumns(tick, node, fleet);
  const s = shared(c, 1, 64 * GIB, node.cores);
  const at = fleet.indexOf(node);
  const cores = Array.from({ length: node.cores }, (_, k) => c[`core.${k}`]);
  const reports = node.state === 1;
  return {
    sections: reports ? s : undefined,
    judged: reports ? judged(c) : {},
    nodeId: node.id,
    state: node.state,
    lastTick: node.state === 1 ? tick : tick - 38,
    aggregatorId: "agg-2",
    labels: [node.rack && `rack:${node.rack}`, `role:${node.role}`, node.zone && `zone:${node.zone}`].filter(
      Boolean,
    ),
    clash: node.clash ? clashOf(node) : "",
    collectorFaults: node.fault
      ? [{ collector: "memory", trouble: 1, reason: "permission denied", sinceUnixS: tick - 600 }]
      : [],
    simulated: node.simulated,
    delayMs: 310,
    kernel: "6.12.9",
    os: "Debian 12",
    cpuModel: "EPYC 9354",
    version: "0.1.0",
    uptimeSeconds: 3_564_000,
    cores: reports ? cores : [],
    ...(fleet.length > 2
      ? {
          median: {
            cpu: 0.55,
            memory: 0.75,
            requestsPerSecond: 21_100,
            errorsPerSecond: 6.5,
            p99Micros: 14_200,
            connections: 4960,
          },
        }
      : {}),
    previousNodeId: fleet[at - 1]?.id ?? "",
    nextNodeId: fleet[at + 1]?.id ?? "",
  };
}

function labelColumn(key, fleet) {
  const values = [...new Set(fleet.map((n) => n[key]))].filter((value) => value !== "").sort();
  return { key, values, places: fleet.map((n) => values.indexOf(n[key]) + 1) };
}

export function hostsState(tick, fleet, dictionary) {
  const value = (f) => fleet.map((n) => (n.state === 1 ? f(n) : Number.NaN));
  return {
    dictionaryVersion: 1,
    ...(dictionary
      ? {
          nodeIds: fleet.map((n) => n.id),
          labels: ["rack", "role", "zone"]
            .map((key) => labelColumn(key, fleet))
            .filter((column) => column.values.length > 0),
          simulated: fleet.map((n) => n.simulated),
        }
      : {}),
    notes: fleet.flatMap((n, place) => [
      ...(n.clash ? [{ place, clash: clashOf(n) }] : []),
      ...(n.fault ? [{ place, faults: "memory cannot be read (permission denied)" }] : []),
      ...(n.state === 2 ? [{ place, silentReason: "its clock is 3600 s ahead: its frames are held" }] : []),
    ]),
    states: fleet.map((n) => n.state),
    silentSeconds: fleet.map((n) => (n.state === 1 ? 0 : n.state === 2 ? 38 : 4000)),
    cpu: value((n) => nodeCpu(n, tick)),
    memory: value((n) => 0.6 + noise(n.index, 2) * 0.3),
    requestsPerSecond: value((n) => 21_000 * (0.8 + noise(n.index, 3) * 0.4) * wave(tick, n.index)),
    errorsPerSecond: value((n) => (hot(n) ? 60 : 4) * noise(tick, n.index)),
    p99Micros: value((n) => (hot(n) ? 92_400 : 9000 + noise(n.index, 4) * 9000) * wave(tick, n.index)),
    load1: value((n) => nodeCpu(n, tick) * 30),
    connections: value((n) => Math.round(5000 * wave(tick, n.index))),
    cores: fleet.map((n) => n.cores),
    aggregators: ["agg-1", "agg-2", "agg-3"],
    aggregatorOf: fleet.map((n) => 1 + (n.index % 3)),
    completeness: {
      nodesReporting: fleet.filter((n) => n.state === 1).length,
      nodesExpected: fleet.length,
      ageMs: 420,
      copies: 2,
    },
  };
}

/** `alone`: the server reaches none of them. */
export function aggregatorsState(alone) {
  const now = Date.now();
  if (alone) {
    return { connectedTo: "", reason: "127.0.0.1:23790: connection refused", serverTimeUnixMs: now };
  }
  return {
    connectedTo: "agg-1",
    serverTimeUnixMs: now,
    aggregators: [1, 2, 3].map((i) => ({
      aggregatorId: `agg-${i}`,
      state: 2,
      grpcAddress: `127.0.0.1:74${i}0`,
      version: "0.1.0",
      connectedNodes: 80 + i,
      closedTick: Math.floor(now / 1000) - 1,
    })),
  };
}

// TEST FEEDER. Serves the built page and /ws/v1/live with made-up data, for developing the page and for its browser
// tests. It is no part of Starling: the real server is the starling-dashboard crate.
//
//   npm run build && node test/feeder/feeder.mjs --port 7480 --nodes 248
//
// --seconds N: history starts N seconds ago. --silent N: node N is silent. --blind N: node N cannot read
// its memory. --twin N: two machines have its name. --every N: gRPC is reported each N s.
// --bound N: error of percentiles in ppm. --nodes 0: an aggregator without a node.
// --alerts N: so many are open, else 4. --unjudged: the aggregator has no alerts.
// --empty: no second has come yet. --alone: nor is an aggregator reached.
// POST /feeder/cut closes every socket and refuses new ones; POST /feeder/restore accepts again;
// POST /feeder/silence keeps sockets open and sends nothing; POST /feeder/restart restores with a new epoch.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { runnerImport } from "vite";
import { WebSocketServer } from "ws";
import { makeAlerts } from "./alerts.mjs";
import { connections } from "./connections.mjs";
import * as data from "./data.mjs";
import { differencesAnswer, outliersAnswer } from "./differ.mjs";
import { makePast } from "./past.mjs";
import { detailAnswer, detailOf } from "./processes.mjs";
import { services } from "./services.mjs";

const ui = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const args = process.argv.slice(2);
const option = (name, fallback) => {
  const at = args.indexOf(`--${name}`);
  return at < 0 ? fallback : Number(args[at + 1]);
};
const port = option("port", 7480);
const fleet = data.makeFleet(
  option("nodes", 248),
  option("silent", undefined),
  option("blind", undefined),
  option("twin", undefined),
);
data.reportEvery(option("every", undefined));
data.boundError(option("bound", undefined));
const history = option("seconds", 900);
const alone = args.includes("--alone");
const empty = alone || args.includes("--empty");
const started = Math.floor(Date.now() / 1000);

// --days N: history began N days ago, else 8. --without: an aggregator does not answer for its part.
const past = makePast({ fleet, started, days: option("days", 8), without: args.includes("--without") });

const alerts = makeAlerts({
  fleet,
  count: args.includes("--unjudged") ? 0 : option("alerts", 4),
  started,
  unavailable: args.includes("--unjudged") ? "this aggregator is of a version without alerts" : "",
});

const { module: pb } = await runnerImport(join(ui, "src", "gen", "starling", "live", "v1", "live_pb.ts"), {
  logLevel: "error",
});

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".woff2": "font/woff2",
  ".svg": "image/svg+xml",
};
// What the real server sends too.
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

let cut = false;
let silent = false;
let epoch = 1;
const sockets = new Set();

const CONTROLS = {
  "/feeder/cut": () => {
    cut = true;
    for (const s of sockets) s.terminate();
  },
  "/feeder/restore": () => {
    cut = false;
    silent = false;
  },
  "/feeder/silence": () => {
    silent = true;
  },
  "/feeder/restart": () => {
    for (const s of sockets) s.terminate();
    cut = false;
    epoch++;
  },
};

/** Seconds behind the clock of the newest second. */
const BEHIND = 2;
const newest = () => Math.floor(Date.now() / 1_000) - BEHIND;
const INVENTED = {
  "/api/v1/connections/report": connections,
  "/api/v1/services": services,
  "/api/v1/differ": () => differencesAnswer(newest()),
  "/api/v1/outliers": () => outliersAnswer(newest()),
};

const http = createServer(async (request, response) => {
  const url = new URL(request.url ?? "/", "http://feeder");
  const path = url.pathname;
  if (request.method === "POST" && CONTROLS[path]) {
    CONTROLS[path]();
    response.end("done\n");
    return;
  }
  const body = request.method === "POST" ? JSON.parse((await request.toArray()).join("") || "{}") : {};
  const ofAlert = cut ? null : alerts.answer(request.method, path, body, url.searchParams);
  if (ofAlert) {
    response.writeHead(ofAlert[0], { "content-type": "application/json" });
    response.end(JSON.stringify(ofAlert[1]));
    return;
  }
  if (path === "/api/v1/session") {
    // As a server without a log-in.
    response.writeHead(200, { "content-type": "application/json" });
    response.end('{"login":false,"name":null,"role":"admin","session":false}');
    return;
  }
  const detailed = detailOf(path);
  const invented = detailed === null ? INVENTED[path] : () => detailAnswer(detailed, newest());
  if (invented && !cut) {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(invented(url.searchParams)));
    return;
  }
  if (path.startsWith("/api/")) {
    const [status, body] = cut ? [503, { error: { message: "cut off" } }] : past(path, url.searchParams);
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
    return;
  }
  const file = path.startsWith("/assets/") ? normalize(path) : "/index.html";
  try {
    const read = await readFile(join(ui, "dist", file));
    // As the server does: the page has its parts at the root, whatever its own path.
    const body = file === "/index.html" ? String(read).replaceAll('="./', '="/') : read;
    response.writeHead(200, {
      "content-type": TYPES[extname(file)] ?? "application/octet-stream",
      "content-security-policy": POLICY,
      "cache-control": file === "/index.html" ? "no-cache" : "public, max-age=31536000, immutable",
    });
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
});

const columnsOf = (view, tick) => {
  if (view.kind === pb.View.OVERVIEW) return data.overviewColumns(tick, fleet);
  if (view.kind === pb.View.NODE) return data.nodeColumns(tick, view.node, fleet);
  return {};
};

const stateOf = (view, tick, first) => {
  switch (view.kind) {
    case pb.View.OVERVIEW:
      return {
        case: "overview",
        value: create(pb.OverviewSchema, { ...data.overviewState(tick, fleet), alerts: alerts.open() }),
      };
    case pb.View.NODE:
      return {
        case: "node",
        value: create(pb.NodeDetailSchema, {
          ...data.nodeState(tick, view.node, fleet),
          alerts: alerts.open(view.node.id),
        }),
      };
    case pb.View.HOSTS:
      return { case: "hosts", value: create(pb.HostsSchema, data.hostsState(tick, fleet, first)) };
    default:
      return { case: "aggregators", value: create(pb.AggregatorsSchema, data.aggregatorsState(alone)) };
  }
};

const point = (view, tick) =>
  data.missing(tick) || tick <= started - history ? null : Object.values(columnsOf(view, tick));

function snapshot(view, id, tick) {
  if (empty && view.kind !== pb.View.AGGREGATORS)
    return { case: "snapshot", value: create(pb.SnapshotSchema, { id, tick: 0 }) };
  const names = Object.keys(columnsOf(view, tick));
  const first = tick - 899;
  const columns = names.map((name) => ({ name, values: [] }));
  for (let t = first; t <= tick; t++) {
    const values = point(view, t);
    columns.forEach((c, i) => {
      c.values.push(values ? values[i] : Number.NaN);
    });
  }
  return {
    case: "snapshot",
    value: create(pb.SnapshotSchema, {
      id,
      tick,
      history: { firstTick: first, columns },
      state: { body: stateOf(view, tick, true) },
    }),
  };
}

const live = new WebSocketServer({ noServer: true, handleProtocols: () => "starling.live.v1" });
http.on("upgrade", (request, socket, head) => {
  if (cut || request.url !== "/ws/v1/live") socket.destroy();
  else live.handleUpgrade(request, socket, head, (s) => live.emit("connection", s));
});

live.on("connection", (socket) => {
  sockets.add(socket);
  const views = new Map();
  let paused = false;
  const say = (body) =>
    socket.send(toBinary(pb.ServerMessageSchema, create(pb.ServerMessageSchema, { body })));
  say({
    case: "hello",
    value: create(pb.HelloSchema, {
      epoch,
      serverTimeUnixMs: Date.now(),
      tickMs: 1000,
      cluster: "sample-data",
      version: "test feeder",
      targetRps: fleet.length > 60 ? 5e6 : 0,
    }),
  });
  const settled = () => Math.floor((Date.now() - 400) / 1000);
  const advance = () => {
    if (paused || silent || empty) return;
    for (const [id, view] of views) {
      for (let t = view.last + 1; t <= settled(); t++) {
        view.last = t;
        const values = point(view, t);
        if (values === null) continue;
        say({
          case: "tick",
          value: create(pb.TickSchema, {
            id,
            tick: t,
            point: values,
            state: { body: stateOf(view, t, false) },
          }),
        });
      }
    }
  };
  const timer = setInterval(advance, 50);
  socket.on("message", (bytes) => {
    const { body } = fromBinary(pb.ClientMessageSchema, bytes);
    if (body.case === "pause") paused = true;
    if (body.case === "resume") paused = false;
    if (body.case === "unsubscribe") views.delete(body.value.id);
    if (body.case !== "subscribe") return;
    const { id, view: kind, nodeId, resumeTick } = body.value;
    const node = fleet.find((n) => n.id === nodeId);
    if (kind === pb.View.NODE && !node) {
      say({
        case: "error",
        value: create(pb.ErrorSchema, {
          id,
          code: "not_found",
          message: `no node named ${nodeId} has reported`,
        }),
      });
      return;
    }
    const tick = settled();
    const view = { kind, node, last: tick };
    views.set(id, view);
    if (resumeTick > tick - 120) view.last = resumeTick;
    else say(snapshot(view, id, tick));
  });
  socket.on("close", () => {
    clearInterval(timer);
    sockets.delete(socket);
  });
});

http.listen(port, "127.0.0.1", () => console.log(`test feeder on http://127.0.0.1:${http.address().port}`));

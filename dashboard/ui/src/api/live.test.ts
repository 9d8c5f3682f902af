import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { beforeEach, describe, expect, it } from "vitest";
import {
  type ClientMessage,
  ClientMessageSchema,
  HelloSchema,
  HostsSchema,
  OverviewSchema,
  type ServerMessage,
  ServerMessageSchema,
  SnapshotSchema,
  TickSchema,
  View,
} from "../gen/starling/live/v1/live_pb";
import { NodeState } from "../gen/starling/v1/cluster_pb";
import { Live } from "./live";
import type { SocketLike } from "./socket";

const T = 1_700_000_000;

class Wire implements SocketLike {
  binaryType = "";
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  sent: ClientMessage["body"][] = [];
  send(data: Uint8Array): void {
    this.sent.push(fromBinary(ClientMessageSchema, data).body);
  }
  close(): void {}
  say(body: ServerMessage["body"]): void {
    const bytes = toBinary(ServerMessageSchema, create(ServerMessageSchema, { body }));
    this.onmessage?.({ data: bytes.slice().buffer });
  }
  hello(epoch: number): void {
    this.say({ case: "hello", value: create(HelloSchema, { epoch, tickMs: 1000, serverTimeUnixMs: 5000 }) });
  }
  /** Resume ticks by view. */
  subscribed(): Map<View, number> {
    const out = new Map<View, number>();
    for (const b of this.sent) if (b.case === "subscribe") out.set(b.value.view, b.value.resumeTick);
    return out;
  }
}

let wires: Wire[];
let timers: (() => void)[];
let live: Live;
const wire = () => wires[wires.length - 1] as Wire;

beforeEach(() => {
  wires = [];
  timers = [];
  live = new Live(
    {
      connect: () => {
        wires.push(new Wire());
        return wire();
      },
      now: () => 0,
      setTimer: (run) => timers.push(run),
      clearTimer: () => {},
      random: () => 0,
    },
    () => 1000,
  );
  live.start();
});

const overviewState = (rps: number) => ({
  body: {
    case: "overview" as const,
    value: create(OverviewSchema, { sections: { traffic: { requestsPerSecond: rps } } }),
  },
});

function snapshot(tick = T): void {
  wire().say({
    case: "snapshot",
    value: create(SnapshotSchema, {
      id: live.overview.id,
      tick,
      history: { firstTick: tick - 1, columns: [{ name: "rps.total", values: [1, 2] }] },
      state: overviewState(2),
    }),
  });
}

function tick(second: number, value: number, more: { skipped?: number } = {}): void {
  wire().say({
    case: "tick",
    value: create(TickSchema, {
      id: live.overview.id,
      tick: second,
      point: [value],
      state: overviewState(value),
      ...more,
    }),
  });
}

describe("subscriptions", () => {
  it("start after hello and learn the server's clock", () => {
    expect(wire().sent).toEqual([]);
    wire().hello(1);
    expect(wire().subscribed()).toEqual(
      new Map([
        [View.OVERVIEW, 0],
        [View.AGGREGATORS, 0],
      ]),
    );
    expect(live.clockOffsetMs).toBe(4000);
  });

  it("resume on the same server and start over on a new one", () => {
    wire().hello(1);
    snapshot();
    tick(T + 1, 3);
    wire().onclose?.({ code: 1006 });
    live.retryNow();
    wire().hello(1);
    expect(wire().subscribed().get(View.OVERVIEW)).toBe(T + 1);
    wire().onclose?.({ code: 1006 });
    live.retryNow();
    wire().hello(2);
    expect(wire().subscribed().get(View.OVERVIEW)).toBe(0);
    // What was there stays until the snapshot arrives.
    expect(live.overview.shown.get("rps.total", T + 1)).toBe(3);
  });

  it("share a view and give it back", () => {
    wire().hello(1);
    const a = live.node("n1");
    expect(live.node("n1")).toBe(a);
    live.release(a);
    expect(wire().sent.some((b) => b.case === "unsubscribe")).toBe(false);
    live.release(a);
    expect(wire().sent.at(-1)).toMatchObject({ case: "unsubscribe", value: { id: a.id } });
  });

  it("are tried again when refused", () => {
    wire().hello(1);
    const view = live.node("nobody");
    wire().say({
      case: "error",
      value: { $typeName: "starling.live.v1.Error", id: view.id, code: "not_found", message: "no such node" },
    });
    expect(view.status.value).toBe("failed");
    expect(view.error.value?.code).toBe("not_found");
    const before = wire().sent.length;
    timers.at(-1)?.();
    expect(wire().sent.slice(before)).toMatchObject([{ case: "subscribe", value: { nodeId: "nobody" } }]);
  });

  it("ask for a snapshot after skipped seconds, once", () => {
    wire().hello(1);
    snapshot();
    tick(T + 5, 3, { skipped: 4 });
    tick(T + 9, 3, { skipped: 3 });
    const asked = wire().sent.filter((b) => b.case === "subscribe" && b.value.id === live.overview.id);
    expect(asked).toHaveLength(2);
  });
});

describe("what is shown", () => {
  beforeEach(() => wire().hello(1));

  it("is empty before the server has data", () => {
    wire().say({ case: "snapshot", value: create(SnapshotSchema, { id: live.overview.id }) });
    expect(live.overview.status.value).toBe("empty");
    tick(T, 1);
    expect(live.overview.status.value).toBe("ready");
  });

  it("holds while paused, fills behind, and catches up", () => {
    snapshot();
    live.hold(true);
    tick(T + 1, 7);
    expect(live.overview.state.value?.sections?.traffic?.requestsPerSecond).toBe(2);
    expect(live.overview.shown.newest).toBe(T);
    expect(live.overview.newest).toBe(T + 1);
    live.hold(false);
    expect(live.overview.state.value?.sections?.traffic?.requestsPerSecond).toBe(7);
    expect(live.overview.shown.get("rps.total", T + 1)).toBe(7);
  });

  it("does not go back to an old state when a second is corrected", () => {
    snapshot();
    tick(T + 1, 7);
    tick(T - 1, 9);
    expect(live.overview.state.value?.sections?.traffic?.requestsPerSecond).toBe(7);
    expect(live.overview.shown.get("rps.total", T - 1)).toBe(9);
  });

  it("keeps the names of nodes until they change, and asks when they are missing", () => {
    const view = live.hosts();
    const hosts = (version: number, names: string[], cpu: number[]) => ({
      body: {
        case: "hosts" as const,
        value: create(HostsSchema, {
          dictionaryVersion: version,
          nodeIds: names,
          labels: [
            { key: "zone", values: ["a"], places: names.map((_, i) => 1 - i) },
            { key: "starling.own", values: ["x"], places: names.map(() => 1) },
          ].filter(() => names.length > 0),
          labelsLeftOut: names.length > 0 ? 3 : 0,
          aggregators: ["agg-1"],
          aggregatorOf: cpu.map((_, i) => i),
          states: cpu.map(() => NodeState.REPORTING),
          cpu,
        }),
      },
    });
    wire().say({
      case: "snapshot",
      value: create(SnapshotSchema, { id: view.id, tick: T, state: hosts(1, ["n1", "n2"], [0.25, 0.5]) }),
    });
    wire().say({
      case: "tick",
      value: create(TickSchema, { id: view.id, tick: T + 1, state: hosts(1, [], [0.5, 0.75]) }),
    });
    expect(view.state.value?.rows.map((r) => [r.id, r.labels, r.aggregator, r.cpu])).toEqual([
      ["n1", { zone: "a" }, "", 0.5],
      ["n2", {}, "agg-1", 0.75],
    ]);
    expect(view.state.value).toMatchObject({ labels: ["zone"], labelsLeftOut: 3 });
    const before = wire().sent.length;
    wire().say({
      case: "tick",
      value: create(TickSchema, { id: view.id, tick: T + 2, state: hosts(2, [], [0.5, 0.75, 0.1]) }),
    });
    expect(
      wire()
        .sent.slice(before)
        .map((b) => b.case),
    ).toEqual(["unsubscribe", "subscribe"]);
  });
});

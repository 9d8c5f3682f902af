import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { beforeEach, describe, expect, it } from "vitest";
import {
  ClientMessageSchema,
  type ServerMessage,
  ServerMessageSchema,
} from "../gen/starling/live/v1/live_pb";
import { RETRY_CAP_MS, retryDelay } from "../lib/backoff";
import {
  type ConnectionState,
  HELLO_TIMEOUT_MS,
  LiveSocket,
  SILENCE_TIMEOUT_MS,
  type SocketLike,
} from "./socket";

class FakeSocket implements SocketLike {
  binaryType = "blob";
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  sent: Uint8Array[] = [];
  closed: number | null = null;
  send(data: Uint8Array): void {
    this.sent.push(data);
  }
  close(code?: number): void {
    this.closed = code ?? 1005;
  }
  say(body: ServerMessage["body"]): void {
    const bytes = toBinary(ServerMessageSchema, create(ServerMessageSchema, { body }));
    this.onmessage?.({ data: bytes.slice().buffer });
  }
  hello(): void {
    this.onmessage?.({
      data: toBinary(
        ServerMessageSchema,
        create(ServerMessageSchema, { body: { case: "hello", value: { epoch: 7, tickMs: 1000 } } }),
      ).slice().buffer,
    });
  }
  tick(): void {
    this.onmessage?.({
      data: toBinary(
        ServerMessageSchema,
        create(ServerMessageSchema, { body: { case: "tick", value: { id: 1, tick: 5 } } }),
      ).slice().buffer,
    });
  }
}

class World {
  time = 0;
  sockets: FakeSocket[] = [];
  timers = new Map<number, { at: number; run: () => void }>();
  next = 1;
  random = () => 1;
  refuse = false;
  connect = () => {
    if (this.refuse) throw new Error("refused");
    const s = new FakeSocket();
    this.sockets.push(s);
    return s;
  };
  now = () => this.time;
  setTimer = (run: () => void, ms: number) => {
    this.timers.set(this.next, { at: this.time + ms, run });
    return this.next++;
  };
  clearTimer = (t: unknown) => {
    this.timers.delete(t as number);
  };
  pass(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const due = [...this.timers].filter(([, t]) => t.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.time = due[1].at;
      due[1].run();
    }
    this.time = end;
  }
  get last(): FakeSocket {
    return this.sockets[this.sockets.length - 1] as FakeSocket;
  }
}

let world: World;
let socket: LiveSocket;
let states: ConnectionState[];
let messages: string[];
let hellos: number;

beforeEach(() => {
  world = new World();
  states = [];
  messages = [];
  hellos = 0;
  socket = new LiveSocket(world, {
    state: (s) => states.push(s),
    hello: () => {
      hellos++;
    },
    message: (m) => messages.push(m.body.case ?? ""),
  });
  socket.start();
});

describe("connecting", () => {
  it("is open only after hello, and asks for binary", () => {
    expect(socket.state.phase).toBe("connecting");
    expect(world.last.binaryType).toBe("arraybuffer");
    expect(socket.send({ case: "pause", value: { $typeName: "starling.live.v1.Pause" } })).toBe(false);
    world.last.hello();
    expect(socket.state).toMatchObject({ phase: "open", everOpen: true });
    expect(hellos).toBe(1);
  });

  it("sends what it is given", () => {
    world.last.hello();
    expect(socket.send({ case: "resume", value: { $typeName: "starling.live.v1.Resume" } })).toBe(true);
    const sent = fromBinary(ClientMessageSchema, world.last.sent[0] as Uint8Array);
    expect(sent.body.case).toBe("resume");
  });

  it("gives up on a server that does not greet", () => {
    world.pass(HELLO_TIMEOUT_MS);
    expect(world.sockets[0]?.closed).toBe(4001);
    expect(socket.state.phase).toBe("waiting");
    expect(socket.state.lostAt).toBeNull();
  });

  it("survives a constructor that throws", () => {
    world.refuse = true;
    world.last.onclose?.({ code: 1006 });
    world.pass(500);
    expect(socket.state.phase).toBe("waiting");
    world.refuse = false;
    world.pass(RETRY_CAP_MS);
    expect(socket.state.phase).toBe("connecting");
  });
});

describe("losing the connection", () => {
  it("retries with a doubling limit up to the cap and remembers when it was lost", () => {
    world.last.hello();
    world.last.tick();
    world.time = 1000;
    world.last.onclose?.({ code: 1006 });
    expect(socket.state).toMatchObject({ phase: "waiting", lostAt: 1000, attempt: 0, retryAt: 1500 });
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      const due = socket.state.retryAt as number;
      waits.push(due - world.time);
      world.pass(due - world.time);
      expect(socket.state.phase).toBe("connecting");
      world.last.onclose?.({ code: 1006 });
    }
    expect(waits).toEqual([500, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
    expect(socket.state.lostAt).toBe(1000);
    expect(socket.state.attempt).toBe(8);
  });

  it("starts over only when data arrives", () => {
    world.last.hello();
    world.last.onclose?.({ code: 1006 });
    world.pass(500);
    world.last.hello();
    expect(socket.state.attempt).toBe(2);
    world.last.tick();
    expect(socket.state).toMatchObject({ attempt: 0, lostAt: null });
  });

  it("connects at once when asked", () => {
    world.last.onclose?.({ code: 1006 });
    socket.retryNow();
    expect(socket.state.phase).toBe("connecting");
    socket.retryNow();
    expect(world.sockets).toHaveLength(2);
  });

  it("obeys the delay of a server that goes away", () => {
    world.last.hello();
    world.last.say({
      case: "goingAway",
      value: { $typeName: "starling.live.v1.GoingAway", retryMs: 4200 },
    });
    world.last.onclose?.({ code: 1001 });
    expect((socket.state.retryAt as number) - world.time).toBe(4200);
  });

  it("replaces a connection that fell silent, unless silence was asked for", () => {
    world.last.hello();
    socket.hush(true);
    world.pass(SILENCE_TIMEOUT_MS * 3);
    expect(socket.state.phase).toBe("open");
    socket.hush(false);
    world.pass(SILENCE_TIMEOUT_MS);
    expect(socket.state.phase).toBe("waiting");
  });

  it("leaves on garbage and ignores a socket it has left", () => {
    const first = world.last;
    first.hello();
    first.onmessage?.({ data: "text" });
    expect(first.closed).toBe(4000);
    expect(socket.state.phase).toBe("waiting");
    first.hello();
    expect(socket.state.phase).toBe("waiting");
  });

  it("stops for good", () => {
    world.last.hello();
    socket.stop();
    expect(world.last.closed).toBe(1000);
    world.pass(60_000);
    expect(world.sockets).toHaveLength(1);
    expect(world.timers.size).toBe(0);
  });
});

it("retryDelay stays within floor and cap", () => {
  expect(retryDelay(1, 0)).toBe(100);
  expect(retryDelay(1, 1)).toBe(500);
  expect(retryDelay(3, 0.5)).toBe(1000);
  expect(retryDelay(99, 1)).toBe(RETRY_CAP_MS);
});

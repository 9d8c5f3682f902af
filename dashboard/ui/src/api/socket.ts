/**
 * The one owner of the live WebSocket: connects, says hello, retries, and reports what state it is in.
 * Everything it needs from the browser is passed in, so its tests need no network and no waiting.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type ClientMessage,
  ClientMessageSchema,
  type Hello,
  type ServerMessage,
  ServerMessageSchema,
} from "../gen/starling/live/v1/live_pb";
import { retryDelay } from "../lib/backoff";

/** Subprotocol of the binary messages of live.proto. */
export const SUBPROTOCOL = "starling.live.v1";
/** Path on the page's own origin. */
export const LIVE_PATH = "/ws/v1/live";
/** A connection that has not said hello by then is given up, milliseconds. */
export const HELLO_TIMEOUT_MS = 10_000;
/**
 * Silence after which an open connection is replaced, milliseconds. A browser does not notice a dead peer by itself;
 * three times the limit at which data counts as lost, so that a cluster without data is not met by endless reconnects.
 */
export const SILENCE_TIMEOUT_MS = 30_000;

/** The part of WebSocket that is used. */
export interface SocketLike {
  binaryType: string;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}

/** What the socket needs from its surroundings. */
export interface Surroundings {
  connect(): SocketLike;
  /** Milliseconds, monotonic. */
  now(): number;
  setTimer(run: () => void, ms: number): unknown;
  clearTimer(timer: unknown): void;
  /** 0 to 1. */
  random(): number;
}

/** idle: not started. connecting: no hello yet. open: hello received. waiting: a retry is due at `retryAt`. */
export type Phase = "idle" | "connecting" | "open" | "waiting";

/** State of the connection, for the banner. Times are those of `Surroundings.now`. */
export interface ConnectionState {
  phase: Phase;
  /** Tries since data last arrived. */
  attempt: number;
  /** When the next try is due. Null unless waiting. */
  retryAt: number | null;
  /** When the connection was lost. Null while open or before the first hello. */
  lostAt: number | null;
  /** A hello has been received at least once. */
  everOpen: boolean;
}

/** Who hears about it. */
export interface SocketEvents {
  state(state: ConnectionState): void;
  /** The connection is ready for subscriptions. */
  hello(hello: Hello): void;
  message(message: ServerMessage): void;
}

export class LiveSocket {
  private current: ConnectionState = {
    phase: "idle",
    attempt: 0,
    retryAt: null,
    lostAt: null,
    everOpen: false,
  };
  private socket: SocketLike | null = null;
  private retryTimer: unknown = null;
  private watchTimer: unknown = null;
  private retryAfterMs: number | null = null;
  private hushed = false;

  constructor(
    private readonly world: Surroundings,
    private readonly events: SocketEvents,
  ) {}

  get state(): ConnectionState {
    return this.current;
  }

  /** Connects and stays connected until `stop`. */
  start(): void {
    if (this.current.phase === "idle") this.connect();
  }

  /** Closes and does not come back. */
  stop(): void {
    this.clearTimers();
    this.drop(1000, "page closed");
    this.update({ phase: "idle", retryAt: null });
  }

  /** Connects at once when a retry is pending: the Retry button and the browser's `online` event. */
  retryNow(): void {
    if (this.current.phase === "waiting") this.connect();
  }

  /** Tells that the server was asked to be silent, so silence is no fault. */
  hush(quiet: boolean): void {
    this.hushed = quiet;
    if (this.current.phase === "open") this.watch(SILENCE_TIMEOUT_MS);
  }

  /** Sends when open; otherwise returns false and the message is not kept: subscriptions are repeated after hello. */
  send(body: ClientMessage["body"]): boolean {
    if (this.current.phase !== "open" || this.socket === null) return false;
    const bytes = toBinary(ClientMessageSchema, create(ClientMessageSchema, { body }));
    this.socket.send(bytes as Uint8Array<ArrayBuffer>);
    return true;
  }

  private connect(): void {
    this.clearTimers();
    this.retryAfterMs = null;
    this.update({ phase: "connecting", attempt: this.current.attempt + 1, retryAt: null });
    let socket: SocketLike;
    try {
      socket = this.world.connect();
    } catch {
      // For example a page served from an address that the browser refuses for WebSockets.
      this.lost();
      return;
    }
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onmessage = (event) => {
      if (this.socket === socket) this.receive(event.data);
    };
    socket.onclose = () => {
      if (this.socket === socket) this.lost();
    };
    this.watch(HELLO_TIMEOUT_MS);
  }

  private receive(data: unknown): void {
    let message: ServerMessage;
    try {
      if (!(data instanceof ArrayBuffer)) throw new TypeError("not binary");
      message = fromBinary(ServerMessageSchema, new Uint8Array(data));
    } catch {
      // Not our protocol: leave, and come back with a growing delay.
      this.drop(4000, "undecodable message");
      this.lost();
      return;
    }
    this.watch(SILENCE_TIMEOUT_MS);
    switch (message.body.case) {
      case "hello":
        this.update({ phase: "open", retryAt: null, lostAt: null, everOpen: true });
        this.events.hello(message.body.value);
        return;
      case "goingAway":
        this.retryAfterMs = message.body.value.retryMs;
        break;
      case "snapshot":
      case "tick":
        // Only data proves a working server: one that greets and closes must meet a growing delay.
        if (this.current.attempt !== 0) this.update({ attempt: 0 });
        break;
    }
    this.events.message(message);
  }

  private lost(): void {
    this.clearTimers();
    this.socket = null;
    const attempt = this.current.attempt;
    const delay = this.retryAfterMs ?? retryDelay(Math.max(1, attempt), this.world.random());
    const now = this.world.now();
    this.update({
      phase: "waiting",
      retryAt: now + delay,
      lostAt: this.current.lostAt ?? (this.current.everOpen ? now : null),
    });
    this.retryTimer = this.world.setTimer(() => this.connect(), delay);
  }

  private watch(ms: number): void {
    this.world.clearTimer(this.watchTimer);
    this.watchTimer = this.hushed
      ? null
      : this.world.setTimer(() => {
          this.drop(4001, "no message");
          this.lost();
        }, ms);
  }

  private drop(code: number, reason: string): void {
    const socket = this.socket;
    this.socket = null;
    if (socket) {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close(code, reason);
    }
  }

  private clearTimers(): void {
    this.world.clearTimer(this.retryTimer);
    this.world.clearTimer(this.watchTimer);
    this.retryTimer = null;
    this.watchTimer = null;
  }

  private update(change: Partial<ConnectionState>): void {
    this.current = { ...this.current, ...change };
    this.events.state(this.current);
  }
}

/** What the page knows of the cluster: keeps subscriptions alive over reconnects and routes messages to views. */
import { signal } from "@preact/signals";
import {
  type Aggregators,
  type ClientMessage,
  type Hello,
  type NodeDetail,
  type Overview,
  type ServerMessage,
  View,
} from "../gen/starling/live/v1/live_pb";
import { type Fleet, readFleet } from "./fleet";
import { type ConnectionState, LiveSocket, type Surroundings } from "./socket";
import { LiveView, type ReadState } from "./view";

/** Wait before a refused subscription is tried again, milliseconds. */
const REFUSED_RETRY_MS = 5_000;
/** A view that skipped seconds is filled from a snapshot at most this often, milliseconds. */
const REFILL_EVERY_MS = 60_000;

const readOverview: ReadState<Overview> = (s) => (s.body.case === "overview" ? s.body.value : null);
const readNode: ReadState<NodeDetail> = (s) => (s.body.case === "node" ? s.body.value : null);
const readAggregators: ReadState<Aggregators> = (s) => (s.body.case === "aggregators" ? s.body.value : null);
const readHosts: ReadState<Fleet> = (s, previous) =>
  s.body.case === "hosts" ? readFleet(s.body.value, previous) : null;

/** What is needed to subscribe, whatever the view shows. */
type AnyView = Pick<LiveView, "id" | "kind" | "nodeId" | "group" | "newest" | "users">;

export class Live {
  readonly connection = signal<ConnectionState>({
    phase: "idle",
    attempt: 0,
    retryAt: null,
    lostAt: null,
    everOpen: false,
  });
  /** Who serves. Null before the first hello. */
  readonly hello = signal<Hello | null>(null);
  /** Server's clock minus ours, milliseconds. */
  clockOffsetMs = 0;
  /** When a second last arrived, on the clock of the surroundings. */
  arrivedAt: number;

  /** Always subscribed: the verdict, the side bar and the common time axis come from them. */
  readonly overview: LiveView<Overview>;
  readonly aggregators: LiveView<Aggregators>;

  private readonly socket: LiveSocket;
  private readonly views = new Map<number, LiveView>();
  private readonly refilledAt = new Map<number, number>();
  private nextId = 1;
  private epoch: number | null = null;
  private sameServer = false;
  private quiet = false;
  private held = false;

  constructor(
    private readonly world: Surroundings,
    /** Milliseconds since the Unix epoch, our clock. */
    private readonly wallClock: () => number,
  ) {
    this.arrivedAt = world.now();
    this.socket = new LiveSocket(world, {
      state: (s) => {
        this.connection.value = s;
      },
      hello: (h) => this.greeted(h),
      message: (m) => this.receive(m),
    });
    this.overview = this.add(View.OVERVIEW, "", "", readOverview);
    this.aggregators = this.add(View.AGGREGATORS, "", "", readAggregators);
    this.overview.users = 1;
    this.aggregators.users = 1;
  }

  start(): void {
    this.socket.start();
  }

  stop(): void {
    this.socket.stop();
  }

  retryNow(): void {
    this.socket.retryNow();
  }

  /** Hosts, while someone looks. Give back with `release`. */
  hosts(): LiveView<Fleet> {
    return this.acquire(View.HOSTS, "", "", readHosts);
  }

  /** The overview of a group, such as "zone:a", while someone looks. Give back with `release`. */
  group(name: string): LiveView<Overview> {
    return this.acquire(View.OVERVIEW, "", name, readOverview);
  }

  /** One node, while someone looks. Give back with `release`. */
  node(id: string): LiveView<NodeDetail> {
    return this.acquire(View.NODE, id, "", readNode);
  }

  release(view: AnyView): void {
    view.users--;
    if (view.users > 0) return;
    this.views.delete(view.id);
    this.refilledAt.delete(view.id);
    this.say({
      case: "unsubscribe",
      value: { $typeName: "starling.live.v1.Unsubscribe", id: view.id },
    });
  }

  /** The tab is hidden or visible again: the server is asked to stop and go on. */
  hide(hidden: boolean): void {
    if (hidden === this.quiet) return;
    this.quiet = hidden;
    this.socket.hush(hidden);
    if (hidden) {
      this.say({ case: "pause", value: { $typeName: "starling.live.v1.Pause" } });
    } else {
      // What was not asked for is not late.
      this.arrivedAt = this.world.now();
      this.say({ case: "resume", value: { $typeName: "starling.live.v1.Resume" } });
    }
  }

  /** Holds what is shown in every view, or lets it go on. Data arrives all the same. */
  hold(on: boolean): void {
    this.held = on;
    for (const view of this.views.values()) view.hold(on);
  }

  private acquire<S>(kind: View, nodeId: string, group: string, read: ReadState<S>): LiveView<S> {
    for (const view of this.views.values()) {
      if (view.kind === kind && view.nodeId === nodeId && view.group === group) {
        view.users++;
        return view as LiveView<S>;
      }
    }
    const view = this.add(kind, nodeId, group, read);
    view.users = 1;
    if (this.held) view.hold(true);
    this.subscribe(view, 0);
    return view;
  }

  private add<S>(kind: View, nodeId: string, group: string, read: ReadState<S>): LiveView<S> {
    const view = new LiveView<S>(this.nextId++, kind, nodeId, group, read);
    this.views.set(view.id, view as LiveView);
    return view;
  }

  private greeted(hello: Hello): void {
    this.clockOffsetMs = hello.serverTimeUnixMs - this.wallClock();
    // A restarted server may order columns again, so only the same one can go on from a second.
    this.sameServer = hello.epoch === this.epoch;
    this.epoch = hello.epoch;
    this.hello.value = hello;
    for (const view of this.views.values()) {
      this.subscribe(view, this.sameServer ? view.newest : 0);
    }
    if (this.quiet) this.say({ case: "pause", value: { $typeName: "starling.live.v1.Pause" } });
  }

  private subscribe(view: AnyView, resumeTick: number): void {
    this.say({
      case: "subscribe",
      value: {
        $typeName: "starling.live.v1.Subscribe",
        id: view.id,
        view: view.kind,
        nodeId: view.nodeId,
        group: view.group,
        resumeTick,
      },
    });
  }

  private receive(message: ServerMessage): void {
    const { body } = message;
    switch (body.case) {
      case "snapshot": {
        const view = this.views.get(body.value.id);
        if (!view) return;
        if (body.value.tick > view.newest) this.arrivedAt = this.world.now();
        view.takeSnapshot(body.value);
        return;
      }
      case "tick": {
        const view = this.views.get(body.value.id);
        if (!view) return;
        if (body.value.tick > view.newest) this.arrivedAt = this.world.now();
        if (!view.takeTick(body.value) || body.value.skipped > 0) this.refill(view);
        return;
      }
      case "error":
        this.refused(body.value.id, body.value.code, body.value.message);
        return;
    }
  }

  /** Asks for a snapshot, which also fills skipped seconds; rarely, because a slow client got here by being slow. */
  private refill(view: LiveView): void {
    const last = this.refilledAt.get(view.id);
    const now = this.world.now();
    if (last !== undefined && now - last < REFILL_EVERY_MS) return;
    this.refilledAt.set(view.id, now);
    this.say({
      case: "unsubscribe",
      value: { $typeName: "starling.live.v1.Unsubscribe", id: view.id },
    });
    this.subscribe(view, 0);
  }

  private refused(id: number, code: string, message: string): void {
    const view = this.views.get(id);
    if (!view) return;
    view.fail({ code, message });
    // What is not found or not available now may be later.
    if (code === "invalid") return;
    this.world.setTimer(() => {
      if (this.views.get(id) === view && view.error.peek() !== null) this.subscribe(view, 0);
    }, REFUSED_RETRY_MS);
  }

  private say(body: ClientMessage["body"]): void {
    this.socket.send(body);
  }
}

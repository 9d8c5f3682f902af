/** Services and their routes, as `/api/v1/services` answers, and the words for them. */
import { count, grouped, NONE, percent, plural, text } from "./format";

/** Percentiles of one service or route; null members are not known. */
export interface ServedLatency {
  p50Micros: number;
  p99Micros: number;
  count: number;
  errorBoundPpm: number;
}

/** What was served together, over the seconds of the answer. */
export interface Served {
  requestsPerSecond: number | null;
  errorsPerSecond: number | null;
  /** Null without requests. */
  errorRatio: number | null;
  /** By class: `2xx`, `5xx`, `ok`, `error`. */
  requestsPerSecondByStatus: Record<string, number>;
  /** Null when no durations are known. */
  latency: ServedLatency | null;
  /** Hosts that serve it. */
  nodes: number | null;
}

export interface Route extends Served {
  /** Template of the path or method of the call, as the application writes it; empty without one. */
  route: string;
}

export interface Service extends Served {
  /** `service.name` as the application writes it. */
  service: string;
  /** The busiest. */
  routes: Route[];
  routesLeftOut: number;
  /** The others together; null when all are listed. */
  rest: Served | null;
}

export interface ServicesAnswer {
  from: string;
  to: string;
  /** Seconds with data in it. */
  seconds: number;
  all: Served;
  services: Service[];
  servicesLeftOut: number;
  rest: Served | null;
}

/** The service or route of everything that has no place of its own. */
export const OTHER = "_other";
/** The service of an application without a name. */
const UNNAMED = "unknown_service";

/** What a name that Starling gives stands for; undefined for those that applications give. */
export function serviceWords(name: string): string | undefined {
  if (name === OTHER) return "services beyond those a host or the cluster has room for";
  // SDKs put the name of the program behind it.
  if (name === UNNAMED || name.startsWith(`${UNNAMED}:`))
    return "without a name: OTEL_SERVICE_NAME gives it one";
  return undefined;
}

/** The same of a route. */
export function routeWords(route: string): string | undefined {
  if (route === OTHER) return "routes beyond those a host has room for";
  if (route === "") return "without a route";
  return undefined;
}

/** How classes are ordered: those that are well, then those that are not. */
const CLASSES = ["1xx", "2xx", "3xx", "ok", "4xx", "5xx", "error"];

const rank = (status: string) => {
  const at = CLASSES.indexOf(status);
  return at < 0 ? CLASSES.length : at;
};

/** "2xx 99.2%, 5xx 0.8%": shares of the classes that were there. */
export function statusText({
  requestsPerSecondByStatus: by,
}: Pick<Served, "requestsPerSecondByStatus">): string {
  const there = Object.entries(by).filter(([, rate]) => rate > 0);
  const whole = there.reduce((sum, [, rate]) => sum + rate, 0);
  if (whole === 0) return NONE;
  return there
    .sort(([a], [b]) => rank(a) - rank(b) || a.localeCompare(b))
    .map(([status, rate]) => `${status === "" ? "unknown" : status} ${text(percent(rate / whole))}`)
    .join(", ");
}

/** "3 further routes: 12.5 requests/s"; undefined when all are listed. */
export function restText(leftOut: number, rest: Served | null, what: string): string | undefined {
  if (leftOut === 0 || rest === null) return undefined;
  const rate = text(count(rest.requestsPerSecond ?? Number.NaN));
  return `${plural(leftOut, `further ${what}`)} not listed, with ${rate} requests per second`;
}

/** Fewest requests of which a percentile of the slowest hundredth says anything. */
const P99_COUNT_MIN = 100;

/** Why a p99 is not to be relied on; undefined when it is. */
export function fewText({ count: n }: Pick<ServedLatency, "count">): string | undefined {
  return n < P99_COUNT_MIN
    ? `of only ${grouped(n)} requests: the slowest hundredth is less than one`
    : undefined;
}

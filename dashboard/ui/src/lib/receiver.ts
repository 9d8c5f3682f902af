/** Where the daemon of a host takes what applications send, and how that is written in an example. Pure. */
import { RECEIVER } from "./firstRequest";

/** Addresses as the daemon says them; null where it takes nothing. */
export interface Listens {
  otlpListen: string | null;
  otlpHttpListen: string | null;
  statsdListen: string | null;
}

/** Whether only programs of the host itself reach an address. */
export const isLoopback = (address: string) => /^(127\.|\[::1\]|localhost:)/.test(address);

/** As a program of the host itself writes it: every address is also the host's own. */
export const fromHere = (address: string) => address.replace(/^(0\.0\.0\.0|\[::\]):/, "127.0.0.1:");

/** The lines of an example, with the addresses of this daemon in place of the usual ones. */
export function withReceiver(lines: string, { otlpListen, otlpHttpListen }: Listens): string {
  const http = otlpHttpListen === null ? lines : lines.replaceAll(RECEIVER.http, fromHere(otlpHttpListen));
  return otlpListen === null ? http : http.replaceAll(RECEIVER.grpc, fromHere(otlpListen));
}

/** Where a daemon listens, in a sentence. */
export function listensText(node: string, { otlpListen, otlpHttpListen, statsdListen }: Listens): string {
  const ways = [
    [otlpListen, "OTLP by gRPC"],
    [otlpHttpListen, "OTLP by HTTP"],
    [statsdListen, "StatsD by UDP"],
  ] as const;
  const said = ways.filter(([address]) => address !== null).map(([address, way]) => `${way} at ${address}`);
  if (said.length === 0)
    return `The daemon of ${node} takes nothing from applications: its setting otlp is off.`;
  const local = ways.every(([address]) => address === null || isLoopback(address));
  const from = local
    ? `All of it from programs on ${node} itself alone, as on loopback; otlp_listen and otlp_http_listen open it to others.`
    : "";
  return `The daemon of ${node} takes ${said.join(", ")}. ${from}`.trim();
}

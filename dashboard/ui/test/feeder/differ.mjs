// TEST FEEDER: INVENTED answers of /api/v1/differ and /api/v1/outliers: what differs, with a hostile name, and a node that is odd.
import { HOSTILE } from "./services.mjs";

const completeness = (to) => ({
  nodesReporting: 3,
  nodesExpected: 3,
  seconds: 60,
  secondsExpected: 60,
  tick: to,
  firstData: null,
  missing: [],
});

const row = (dimension, key, value, shareInside, shareRest, log10P) => ({
  dimension,
  key,
  value,
  inside: Math.round(shareInside * 400),
  rest: Math.round(shareRest * 9_600),
  shareInside,
  shareRest,
  lift: shareRest > 0 ? shareInside / shareRest : null,
  excess: shareInside * 400,
  log10P,
  significant: log10P < -2,
});

export function differencesAnswer(now) {
  const rows = [
    row("node", null, "node-r01-02", 0.8, 0.02, -300),
    row("service", null, HOSTILE, 0.5, 0, -80.4),
    row("label", "zone", "eu-1", 0.9, 0.33, -40),
    row("route", "shop", "/item/{number}", 0.4, 0.36, -0.2),
  ];
  return {
    text: "node node-r01-02 makes 80 % of the 400 requests in the box, and 2.0 % of the others.",
    inside: 400,
    rest: 9_600,
    tested: 40,
    stepSeconds: null,
    rows,
    completeness: completeness(now),
  };
}

export function outliersAnswer(now) {
  const time = (second) => new Date(second * 1_000).toISOString();
  const node = (name, times, odd, usual) => ({
    node: name,
    values: 3_000,
    p99: 40_000 * times,
    p99Lower: 38_000 * times,
    p99Upper: 43_000 * times,
    peersP99: 40_000,
    factor: times,
    shareBeyond: odd ? 0.4 : 0.01,
    log10P: odd ? -60 : 0,
    odd,
    usual,
    since: odd ? time(now - (usual ? 299 : 41)) : null,
    sinceBefore: usual,
  });
  return {
    text: "node-r01-02 has 40 % of its values beyond the p99 of its 59 peers, for 42 s. 1 more are odd.",
    to: time(now),
    nodes: 60,
    nodesWithFewValues: 2,
    rows: [
      node("node-r01-02", 4, true, false),
      node("node-r02-01", 3, true, true),
      node("node-r01-01", 1.05, false, false),
    ],
    completeness: completeness(now),
  };
}

/** What the disks of the aggregators hold of the history, and what their work on it is at. */
import { StatusMark } from "../components/Icons";
import { WideTable } from "../components/WideTable";
import type { Aggregators } from "../gen/starling/live/v1/live_pb";
import type { HistoryStore } from "../gen/starling/v1/cluster_pb";
import { copiesText } from "../lib/copies";
import * as f from "../lib/format";

const COLUMNS = [
  ["Aggregator", "tx"],
  ["State", "tx"],
  ["On disk"],
  ["Log"],
  ["Every second"],
  ["10 seconds"],
  ["Minutes"],
  ["Hours"],
  ["Work due", "tx"],
  ["Copies", "tx"],
] as const;

/** How long ago the oldest second is. */
const reach = (oldest: number, now: number) => (oldest > 0 ? f.span(Math.max(0, now - oldest)) : f.NONE);

/** Bytes of all tiers and of the log. */
const size = (store: HistoryStore) =>
  f.text(f.bytes(Number(store.tiers.reduce((sum, tier) => sum + (tier.bytes ?? 0n), store.logBytes ?? 0n))));

/** What waits to be done, in words. */
function backlog({ windowsToSeal = 0n, hoursToRollUp = 0n, segmentsToJoin = 0n }: HistoryStore): string {
  const waiting = [
    [windowsToSeal, "to seal"],
    [hoursToRollUp, "to roll up"],
    [segmentsToJoin, "to join"],
  ] as const;
  const words = waiting
    .filter(([count]) => count > 0n)
    .map(([count, what]) => `${f.grouped(Number(count))} ${what}`);
  return words.length > 0 ? words.join(", ") : "none";
}

function State({ store }: { store: HistoryStore }) {
  if (store.pausedSinceTick > 0) {
    return (
      <>
        <StatusMark mark="critical" /> paused since {f.clock(store.pausedSinceTick)}
        <span class="sample">{store.pausedReason}</span>
      </>
    );
  }
  const lost = Number(store.lostNodeSeconds ?? 0n);
  if (lost > 0) {
    return (
      <>
        <StatusMark mark="warning" /> a gap of {f.plural(lost, "node second")}
        <span class="sample">
          {f.dated(store.lostFromTick)} to {f.dated(store.lostToTick)}
        </span>
      </>
    );
  }
  const corrupt = Number(store.corruptBlocks ?? 0n);
  if (corrupt > 0) {
    return (
      <>
        <StatusMark mark="warning" /> {f.plural(corrupt, "block")} set aside
      </>
    );
  }
  return (
    <>
      <StatusMark mark="ok" /> written
    </>
  );
}

/** A row for each aggregator; what one did not say is a dash. */
export function HistoryTable({ state }: { state: Aggregators }) {
  const now = state.serverTimeUnixMs / 1000;
  return (
    <WideTable label="Table of the history on disk" columns={COLUMNS}>
      {state.aggregators.map((a) => (
        <tr key={a.aggregatorId}>
          <th scope="row">{a.aggregatorId}</th>
          {a.historyStore ? (
            <>
              <td class="tx">
                <State store={a.historyStore} />
              </td>
              <td>{size(a.historyStore)}</td>
              <td>{f.text(f.bytes(Number(a.historyStore.logBytes ?? 0n)))}</td>
              {[0, 1, 2, 3].map((tier) => {
                const held = a.historyStore?.tiers[tier];
                return (
                  <td
                    key={tier}
                    title={
                      held &&
                      `${f.text(f.bytes(Number(held.bytes ?? 0n)))} of at most ${f.text(f.bytes(Number(held.bytesMax ?? 0n)))}`
                    }
                  >
                    {reach(held?.oldestTick ?? 0, now)}
                  </td>
                );
              })}
              <td class="tx">{backlog(a.historyStore)}</td>
              <td class="tx">{copiesText(a.historyCopies, state.aggregators.length < 2)}</td>
            </>
          ) : (
            <td class="tx" colSpan={9}>
              {f.NONE}
            </td>
          )}
        </tr>
      ))}
    </WideTable>
  );
}

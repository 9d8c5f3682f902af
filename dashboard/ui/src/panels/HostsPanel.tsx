/** The host map as a panel: of the Overview, and of the page of nodes. */
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import type { Fleet } from "../api/fleet";
import { FILLS, type Fill } from "../components/fills";
import { type GroupBy, HostMap } from "../components/HostMap";
import { Choice, Panel } from "../components/Panel";
import { NO_NODE } from "../components/words";
import type { OpenAlerts } from "../gen/starling/live/v1/live_pb";
import { nodesOf } from "../lib/breach";
import * as f from "../lib/format";
import { lack } from "../state/page";
import { query, setQuery } from "../state/router";

/** In the address: no groups. A key of a label holds no colon. */
const UNGROUPED = ":";

/** What the address says the map is grouped by; zones, and racks within them, when it says nothing. */
function groupBy(labels: readonly string[], asked: string | null): GroupBy {
  const carried = (key: string) => (labels.includes(key) ? key : "");
  const group = asked === UNGROUPED ? "" : carried(asked ?? "zone");
  const racks = asked === UNGROUPED ? "" : carried("rack");
  return { group, part: group === "rack" || (asked !== null && asked !== "zone") ? "" : racks };
}

/** The host map, with what it is grouped and filled by; `of` when it shows a part of the fleet. */
export function HostsPanel({
  fleet,
  alerts,
  waiting,
  width,
  of,
  controls,
}: {
  fleet: Fleet | null;
  alerts: OpenAlerts | undefined;
  waiting: string;
  width: 4 | 8 | 12;
  /** How many nodes there are, when a filter leaves some out. */
  of?: number;
  controls?: ComponentChildren;
}) {
  const breaches = useMemo(() => nodesOf(alerts?.alerts ?? []), [alerts]);
  const fill = FILLS.find(([key]) => key === query.value.get("fill"))?.[0] ?? "cpu";
  const labels = fleet?.labels ?? [];
  const by = groupBy(labels, query.value.get("by"));
  const simulated = fleet?.rows.filter((r) => r.simulated).length ?? 0;
  const named = [by.group, by.part].filter((key) => key !== "").join(" and ");
  const note = fleet
    ? `${of === undefined ? "" : `${f.grouped(fleet.rows.length)} of `}${f.plural(of ?? fleet.rows.length, "node")}${named === "" ? "" : ` by ${named}`}${simulated > 0 ? `, ${f.grouped(simulated)} simulated` : ""}`
    : undefined;
  return (
    <Panel
      title="Hosts"
      note={note}
      width={width}
      controls={
        <>
          {labels.length > 0 && (
            <select
              class="select s"
              aria-label="Group by"
              value={by.group}
              onChange={(e) => setQuery("by", e.currentTarget.value || UNGROUPED)}
            >
              <option value="">no groups</option>
              {labels.map((key) => (
                <option key={key} value={key}>
                  by {key}
                </option>
              ))}
            </select>
          )}
          <Choice<Fill>
            label="Fill by"
            value={fill}
            options={FILLS}
            choose={(v) => setQuery("fill", v === "cpu" ? null : v)}
          />
          {controls}
        </>
      }
    >
      {fleet && fleet.rows.length > 0 ? (
        <HostMap fleet={fleet} fill={fill} by={by} breaches={breaches} />
      ) : (
        <p class="absent">
          {of !== undefined && of > 0
            ? "No node matches the filter."
            : lack.value === "no-node" || (fleet && lack.value === null)
              ? NO_NODE
              : waiting}
        </p>
      )}
    </Panel>
  );
}

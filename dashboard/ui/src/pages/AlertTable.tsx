/** Open alerts as a table; those that another one explains stand below it. */
import type { AlertDetails } from "../api/alerts";
import { alertMark, StatusMark } from "../components/Icons";
import { ACTIONS, WideTable } from "../components/WideTable";
import { ruleTitle } from "../lib/alerts";
import { secondOf } from "../lib/analysis";
import * as f from "../lib/format";
import { serverNow } from "../state/page";
import { nodeHref } from "../state/router";
import { barred } from "../state/session";

const COLUMNS = [
  ["Alert", "tx"],
  ["Of", "tx wide-only"],
  ["Value"],
  ["Limit", "wide-only"],
  ["Worst", "wide-only"],
  ["For"],
  ["State", "tx wide-only"],
  ACTIONS,
] as const;

/** Rule and parts: "Disk full /var". */
export function titleOf(alert: AlertDetails): string {
  return [ruleTitle(alert.metric), ...Object.values(alert.attributes)].join(" ");
}

/** Whom it is about: a node leads to its page. */
export function Subject({ alert }: { alert: AlertDetails }) {
  if (alert.node) return <a href={nodeHref(alert.node)}>{alert.node}</a>;
  return <>{alert.subject ?? "cluster"}</>;
}

type Act = (alert: AlertDetails) => void;

interface Props {
  rows: { alert: AlertDetails; under: boolean }[];
  acknowledge: Act;
  silence: Act;
  details: Act;
}

function State({ alert }: { alert: AlertDetails }) {
  const by = alert.acknowledgement;
  if (alert.state === "acknowledged" && by) {
    return <span title={by.comment || undefined}>acknowledged by {by.who}</span>;
  }
  return <>{alert.state}</>;
}

function Row({ alert, under, acknowledge, silence, details }: Omit<Props, "rows"> & Props["rows"][number]) {
  const title = titleOf(alert);
  const whose = `${title}, ${alert.subject ?? "cluster"}`;
  const quiet = alert.state === "acknowledged" || alert.state === "silenced";
  const below = alert.children.length;
  return (
    <tr class={quiet || alert.state === "pending" ? "dim" : ""} data-episode={alert.id}>
      <th scope="row" class={under ? "under" : ""}>
        <StatusMark mark={alertMark(alert.severity)} />
        <span class="sr">{alert.severity}: </span>
        <button
          type="button"
          class="lk"
          aria-label={`View details of ${whose}`}
          onClick={() => details(alert)}
        >
          {title}
        </button>
        {below > 0 && <span class="sample">{f.grouped(below)} below</span>}
        <span class="of-small">
          <Subject alert={alert} />
        </span>
      </th>
      <td class="tx wide-only">
        <Subject alert={alert} />
      </td>
      <td>{alert.currentText ?? f.NONE}</td>
      <td class="wide-only">{alert.thresholdText ?? f.NONE}</td>
      <td class="wide-only">{alert.worstText ?? f.NONE}</td>
      <td title={alert.since}>{f.span(serverNow() - secondOf(alert.since))}</td>
      <td class="tx wide-only">
        <State alert={alert} />
      </td>
      <td class="tx acts">
        {alert.acknowledgement === null && (
          <button
            type="button"
            class="lk"
            aria-label={`Acknowledge ${whose}`}
            disabled={barred.value !== undefined}
            title={barred.value}
            onClick={() => acknowledge(alert)}
          >
            Acknowledge
          </button>
        )}
        <button
          type="button"
          class="lk"
          aria-label={`Silence ${whose}`}
          disabled={barred.value !== undefined}
          title={barred.value}
          onClick={() => silence(alert)}
        >
          Silence
        </button>
      </td>
    </tr>
  );
}

export function AlertTable({ rows, ...acts }: Props) {
  return (
    <WideTable label="Table of open alerts" columns={COLUMNS} class="open-alerts alerts-t">
      {rows.map(({ alert, under }) => (
        <Row key={alert.id} alert={alert} under={under} {...acts} />
      ))}
    </WideTable>
  );
}

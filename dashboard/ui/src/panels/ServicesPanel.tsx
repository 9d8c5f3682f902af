/** What applications serve, by service: rates, failures, latency; and of one that is opened the busiest routes. */
import { Fragment } from "preact";
import { Glyph } from "../components/Icons";
import { Choice, Panel } from "../components/Panel";
import { WideTable } from "../components/WideTable";
import { lackText } from "../components/words";
import { secondOf } from "../lib/analysis";
import { noted } from "../lib/complete";
import * as f from "../lib/format";
import * as s from "../lib/services";
import { live } from "../state/page";
import { query, setQuery } from "../state/router";
import { pausedAt, period } from "../state/timeline";
import { FirstRequest } from "./FirstRequest";
import { useAnswer } from "./useAnswer";

const WINDOWS = [
  ["60", "1 min"],
  ["300", "5 min"],
  ["900", "15 min"],
] as const;
type Seconds = (typeof WINDOWS)[number][0];

/** How often what is shown is read again, seconds: an answer adds up all seconds of its window. */
const EVERY = 5;
/** Services of the table, and routes of the one that is opened; the others are said together. */
const SERVICES = 50;
const ROUTES = 20;

const COLUMNS = [
  ["Service", "tx"],
  ["Requests/s"],
  ["Failed"],
  ["p50", "wide-only"],
  ["p99"],
  ["Status", "tx wide-only"],
  ["Hosts", "wide-only"],
] as const;

/** The seconds that are asked for. */
export const servicesWindow = (): Seconds =>
  WINDOWS.find(([seconds]) => seconds === query.value.get("window"))?.[0] ?? "60";

interface Asked {
  services: number;
  routes: number;
  service?: string;
}

/** What was served in the last seconds; while the page is paused it stands still too. */
export function useServices(asked: Asked) {
  const window = servicesWindow();
  const every = pausedAt.value === null ? EVERY : undefined;
  return useAnswer<s.ServicesAnswer>(
    `${window} ${asked.service ?? ""}`,
    "/api/v1/services",
    { window, ...asked },
    { every },
  );
}

/** A name that an application wrote: cut where it is long, whole in its title, and no part of the line around it. */
function Name({ name, words }: { name: string; words: string | undefined }) {
  return (
    <>
      {name !== "" && (
        <bdi class="cut" title={name}>
          {name}
        </bdi>
      )}
      {words && <span class="says">{words}</span>}
    </>
  );
}

function Cells({ served }: { served: s.Served }) {
  const { latency, errorRatio, nodes } = served;
  const bound = latency?.errorBoundPpm ?? 0;
  const few = latency ? s.fewText(latency) : undefined;
  const within = bound > 0 ? `within ${f.text(f.percent(bound / 1e6))}` : undefined;
  const failed = (errorRatio ?? 0) > 0;
  return (
    <>
      <td>{f.text(f.count(served.requestsPerSecond ?? Number.NaN))}</td>
      <td class={failed ? "failed" : ""}>{errorRatio === null ? f.NONE : f.text(f.percent(errorRatio))}</td>
      <td class="wide-only" title={within}>
        {f.text(f.microsWithin(latency?.p50Micros, bound))}
      </td>
      <td title={noted(within, few) || undefined} class={few ? "few" : ""}>
        {f.text(f.microsWithin(latency?.p99Micros, bound))}
      </td>
      <td class="tx wide-only">{s.statusText(served)}</td>
      <td class="wide-only">{f.grouped(nodes ?? Number.NaN)}</td>
    </>
  );
}

function Routes({ service }: { service: string }) {
  const { answer, problem } = useServices({ services: 1, routes: ROUTES, service });
  const found = answer?.services[0];
  if (!found) {
    const why = answer ? "No requests in this time." : (problem ?? "Reading.");
    return (
      <tr class="route">
        <td class="tx" colSpan={COLUMNS.length}>
          {why}
        </td>
      </tr>
    );
  }
  const rest = s.restText(found.routesLeftOut, found.rest, "route");
  return (
    <>
      {found.routes.map((is) => (
        <tr class="route" key={is.route}>
          <th scope="row">
            <Name name={is.route} words={s.routeWords(is.route)} />
          </th>
          <Cells served={is} />
        </tr>
      ))}
      {found.rest && (
        <tr class="route">
          <th scope="row">
            <span class="says">{rest}</span>
          </th>
          <Cells served={found.rest} />
        </tr>
      )}
    </>
  );
}

/** Whether any request is known of the last 15 minutes. */
function everServed(): boolean {
  live.overview.version.value;
  const rings = live.overview.shown;
  return rings.peak("rps.total", rings.newest - rings.capacity + 1, rings.newest) > 0;
}

export function ServicesPanel() {
  const window = servicesWindow();
  const { answer, problem } = useServices({ services: SERVICES, routes: 1 });
  const opened = query.value.get("service");
  const all = answer?.all;
  const rest = answer ? s.restText(answer.servicesLeftOut, answer.rest, "service") : undefined;
  const asOf = answer ? `until ${f.clock(secondOf(answer.to))}` : undefined;
  const short =
    answer && answer.seconds > 0 && answer.seconds < Number(window)
      ? `${f.plural(answer.seconds, "second")} of it with data`
      : undefined;
  return (
    <Panel
      title="Services"
      note={noted(
        `last ${f.lengthInWords(Number(window))}`,
        short,
        period.value !== null || pausedAt.value !== null ? asOf : undefined,
        answer && problem ? `not read again: ${problem}` : undefined,
      )}
      width={12}
      class="services"
      controls={
        <Choice<Seconds>
          label="Requests of the last"
          value={window}
          options={WINDOWS}
          choose={(v) => setQuery("window", v === "60" ? null : v)}
        />
      }
    >
      {answer && all && answer.services.length > 0 ? (
        <>
          <WideTable label="Services and their routes" columns={COLUMNS} class="services">
            {answer.services.map((is) => {
              const open = is.service === opened;
              return (
                <Fragment key={is.service}>
                  <tr>
                    <th scope="row">
                      <button
                        type="button"
                        class={`unfold${open ? " open" : ""}`}
                        aria-expanded={open}
                        onClick={() => setQuery("service", open ? null : is.service)}
                      >
                        <Glyph name="play" />
                        <Name name={is.service} words={s.serviceWords(is.service)} />
                      </button>
                    </th>
                    <Cells served={is} />
                  </tr>
                  {open && <Routes service={is.service} />}
                </Fragment>
              );
            })}
            {answer.rest && (
              <tr>
                <th scope="row">
                  <span class="says">{rest}</span>
                </th>
                <Cells served={answer.rest} />
              </tr>
            )}
            {answer.services.length > 1 && (
              <tr class="sum">
                <th scope="row">All</th>
                <Cells served={all} />
              </tr>
            )}
          </WideTable>
          <p class="table-note">
            By <code>service.name</code>; a service opens to its busiest routes. Percentiles are of the merged
            histograms of all hosts. A host keeps <code>routes_max</code> routes, 128 by default, and one
            service half of them; what is beyond is counted in <code>{s.OTHER}</code>, so that sums stay
            exact.
          </p>
        </>
      ) : answer && lackText.value === null && !everServed() ? (
        <FirstRequest />
      ) : (
        <p class="absent">
          {lackText.value ??
            (answer
              ? `No requests of any service in the last ${f.lengthInWords(Number(window))}.`
              : (problem ?? "Reading."))}
        </p>
      )}
    </Panel>
  );
}

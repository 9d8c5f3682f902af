/** What Starling's own servers answered, apart from what applications serve. */
import { protocolLabel } from "../api/columns";
import { Panel } from "../components/Panel";
import { lackText } from "../components/words";
import { noted } from "../lib/complete";
import * as f from "../lib/format";
import { meanByProtocol, type OwnAnswer } from "../lib/ownRequests";
import { newest } from "../state/page";
import { useAnswer } from "./useAnswer";

const SECONDS = 60;
/** Read again so seldom, seconds. */
const EVERY = 10;

function useRates(name: string) {
  // The newest seconds are still being filled.
  const to = Math.floor(newest.value / EVERY) * EVERY - 2;
  const asked = { name, statistics: "rate", step: SECONDS, from: to - SECONDS + 1, to };
  return useAnswer<OwnAnswer>(name, "/api/v1/series", asked);
}

export function OwnRequests() {
  const requests = useRates("starling.requests");
  const errors = useRates("starling.errors");
  const rates = requests.answer && meanByProtocol(requests.answer);
  const failed = errors.answer ? meanByProtocol(errors.answer) : new Map<string, number>();
  return (
    <Panel
      title="Starling's own requests"
      note={noted(
        "last minute, in no figure of the cluster",
        rates && requests.problem ? `not read again: ${requests.problem}` : undefined,
      )}
      width={12}
      controls={
        <a
          class="btn s"
          href="/api/v1/series?name=starling.requests&total=true"
          download="starling.requests.json"
        >
          Data
        </a>
      }
    >
      {rates && rates.size > 0 ? (
        <table class="t own-requests">
          <thead>
            <tr>
              <th scope="col">Protocol</th>
              <th scope="col">Requests/s</th>
              <th scope="col">Failed/s</th>
            </tr>
          </thead>
          <tbody>
            {[...rates].map(([protocol, rate]) => (
              <tr key={protocol}>
                <th scope="row">{protocolLabel(protocol)}</th>
                <td>{f.text(f.count(rate))}</td>
                <td>{f.text(f.count(failed.get(protocol) ?? 0))}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        <p class="absent">
          {lackText.value ??
            (requests.answer ? "Starling's servers report no requests." : (requests.problem ?? "Reading."))}
        </p>
      )}
      <p class="small">
        Aggregators and this dashboard report what they answer through the daemon of their host, as{" "}
        <code>starling.requests</code>: what applications serve is counted without it.
      </p>
    </Panel>
  );
}

/** What Explore draws, a row each: a series with its attributes, its statistic and whose it is, or a query in PromQL. */
import { useSignal } from "@preact/signals";
import { useEffect, useId } from "preact/hooks";
import type { Outcome } from "../api/explore";
import type { Fleet } from "../api/fleet";
import { WhoseSelect } from "../components/Whose";
import { type Line, NODES_MAX, type PromqlLine, placeOf, type SeriesLine, writeLine } from "../lib/explore";
import { plural } from "../lib/format";
import type { Listed } from "../lib/listed";

const STATISTICS: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  histogram: [
    ["", "p99"],
    ["p50", "p50"],
    ["p90", "p90"],
    ["p95", "p95"],
    ["p99.9", "p99.9"],
    ["mean", "mean"],
    ["count", "count"],
  ],
  counter: [
    ["", "per second"],
    ["increase", "increase in a point"],
  ],
  gauge: [
    ["", "mean"],
    ["min", "smallest"],
    ["max", "largest"],
    ["last", "last"],
  ],
};

interface RowProps {
  outcome: Outcome | undefined;
  change: (line: Line) => void;
  remove: () => void;
}

export function LineRow({
  line,
  listed,
  fleet,
  ...row
}: RowProps & { line: Line; listed: Listed | undefined; fleet: Fleet | null }) {
  return line.kind === "promql" ? (
    <PromqlRow line={line} {...row} />
  ) : (
    <SeriesRow line={line} listed={listed} fleet={fleet} {...row} />
  );
}

function Said({ outcome }: { outcome: Outcome | undefined }) {
  if (outcome === undefined || outcome.drawn === null) return <span class="mute">Reading.</span>;
  if (outcome.problem !== null) return <span class="warn">{outcome.problem}</span>;
  return (
    <span class="mute">
      {[outcome.drawn === 1 ? "1 series" : `${outcome.drawn} series`, ...outcome.notes].join("; ")}
    </span>
  );
}

function Remove({ what, remove }: { what: string; remove: () => void }) {
  return (
    <button type="button" class="btn s" aria-label={`Remove ${what}`} onClick={remove}>
      Remove
    </button>
  );
}

/** Where the page History has it; of several series their sum, of each node the cluster. */
function historyHref({ whose, ...series }: SeriesLine): string {
  const query = new URLSearchParams({ metric: writeLine({ ...series, whose: "" }) });
  if (whose !== "" && whose !== "each") query.set("of", whose);
  return `/history?${query}`;
}

/** The statistic and the attributes of a series. */
export function SeriesChoices({
  line,
  listed,
  change,
}: {
  line: SeriesLine;
  listed: Listed | undefined;
  change: (line: SeriesLine) => void;
}) {
  const { name, attributes, statistic } = line;
  const offered = STATISTICS[listed?.kind ?? ""] ?? [["", "as it is"]];
  const statistics =
    statistic === "" || offered.some(([is]) => is === statistic)
      ? offered
      : [...offered, [statistic, statistic]];
  const keys = [...new Set([...(listed?.attributes.keys() ?? []), ...Object.keys(attributes)])];
  const setAttribute = (key: string, value: string) => {
    const { [key]: _, ...others } = attributes;
    change({ ...line, attributes: value === "" ? others : { ...others, [key]: value } });
  };
  return (
    <>
      <select
        class="select s"
        aria-label={`${name}: statistic`}
        value={statistic}
        onChange={(e) => change({ ...line, statistic: e.currentTarget.value })}
      >
        {statistics.map(([value, words]) => (
          <option key={value} value={value}>
            {words}
          </option>
        ))}
      </select>
      {keys.map((key) => {
        const values = listed?.attributes.get(key) ?? [];
        const value = attributes[key] ?? "";
        return (
          <select
            key={key}
            class="select s"
            aria-label={`${name}: ${key}`}
            value={value}
            onChange={(e) => setAttribute(key, e.currentTarget.value)}
          >
            <option value="">
              {key}: any of {plural(values.length, "value")}
            </option>
            {(values.includes(value) || value === "" ? values : [...values, value]).map((is) => (
              <option key={is} value={is}>
                {key}: {is}
              </option>
            ))}
          </select>
        );
      })}
    </>
  );
}

function SeriesRow({
  line,
  listed,
  fleet,
  outcome,
  change,
  remove,
}: RowProps & { line: SeriesLine; listed: Listed | undefined; fleet: Fleet | null }) {
  const { name, whose } = line;
  return (
    <li>
      <bdi class="cut" title={name}>
        {name}
      </bdi>
      <span class="asked">
        <SeriesChoices line={line} listed={listed} change={change} />
        <WhoseSelect
          label={`${name}: of`}
          value={whose}
          choose={(next) => change({ ...line, whose: next })}
          fleet={fleet}
          each={`each node, the highest ${NODES_MAX}`}
        />
      </span>
      <Said outcome={outcome} />
      <span class="acts">
        <a class="btn s" href={historyHref(line)}>
          History
        </a>
        <Remove what={name} remove={remove} />
      </span>
    </li>
  );
}

function PromqlRow({ line, outcome, change, remove }: RowProps & { line: PromqlLine }) {
  const id = useId();
  const text = useSignal(line.query);
  useEffect(() => {
    text.value = line.query;
  }, [line.query]);
  const problem = line.query === "" ? null : (outcome?.problem ?? null);
  const place = problem === null ? null : placeOf(problem);
  const wrong = place && line.query.split("\n")[place.line - 1];
  const run = () => change({ kind: "promql", query: text.value.trim() });
  return (
    <li class="promql">
      <span>PromQL</span>
      <form
        class="asked"
        onSubmit={(e) => {
          e.preventDefault();
          run();
        }}
      >
        <textarea
          class="select s"
          rows={Math.min(6, text.value.split("\n").length)}
          aria-label="Query in PromQL"
          aria-invalid={problem !== null}
          aria-describedby={id}
          placeholder="sum by (node) (rate(system_network_io_bytes_total[1m]))"
          spellcheck={false}
          value={text.value}
          onInput={(e) => {
            text.value = e.currentTarget.value;
          }}
          onKeyDown={(e) => {
            if (e.key !== "Enter" || e.shiftKey) return;
            e.preventDefault();
            run();
          }}
        />
        <button type="submit" class="btn s">
          Run
        </button>
      </form>
      <div id={id}>
        {line.query === "" ? (
          <span class="mute">Enter runs it, Shift and Enter begin a line.</span>
        ) : (
          <Said outcome={outcome} />
        )}
        {place && wrong !== undefined && (
          <pre class="wrong">
            {wrong}
            {"\n"}
            {" ".repeat(Math.max(0, place.column - 1))}^
          </pre>
        )}
      </div>
      <Remove what="the query" remove={remove} />
    </li>
  );
}

/** What is said across the page when data stopped: since when, and what happens next. */
import { clock, span, zoneName } from "../lib/format";
import { ageSeconds, beat, fresh, live, newest } from "../state/page";
import { path } from "../state/router";
import { StatusMark } from "./Icons";

export function Banner() {
  beat.value;
  const { phase, attempt, retryAt, lostAt, everOpen } = live.connection.value;
  const at = newest.value;
  const now = performance.now();
  const reason = live.aggregators.state.value?.reason;
  const shown = at === 0 ? "" : ` Showing data up to ${clock(at)} ${zoneName()}.`;
  if (phase === "waiting" || (phase === "connecting" && attempt > 1)) {
    const seconds = retryAt === null ? 0 : Math.max(0, Math.ceil((retryAt - now) / 1000));
    const next = phase === "waiting" && seconds > 0 ? `Reconnecting in ${span(seconds)}` : "Reconnecting now";
    return (
      <div class="banner" role="alert" aria-live="off">
        <StatusMark mark="warning" />
        <span>
          <b>
            {lostAt === null
              ? everOpen
                ? "Connection interrupted."
                : "Cannot reach the dashboard server."
              : `Connection lost ${span((now - lostAt) / 1000)} ago.`}
          </b>
          {shown} {next}, attempt {attempt + (phase === "waiting" ? 1 : 0)}
          {at === 0 ? "." : "; missed seconds will be filled in."}
        </span>
        <button type="button" class="btn s" onClick={() => live.retryNow()}>
          Retry now
        </button>
      </div>
    );
  }
  if (phase === "open" && at !== 0 && fresh.value === "lost") {
    return (
      <div class="banner" role="alert" aria-live="off">
        <StatusMark mark="warning" />
        <span>
          <b>No new data for {span(ageSeconds.value)}.</b>
          {shown}{" "}
          {reason
            ? `The dashboard server reaches no aggregator (${reason}).`
            : "The dashboard server is connected but receives nothing from an aggregator."}
        </span>
        {path.value !== "/cluster" && (
          <a class="btn s" href="/cluster">
            View aggregators
          </a>
        )}
      </div>
    );
  }
  return null;
}

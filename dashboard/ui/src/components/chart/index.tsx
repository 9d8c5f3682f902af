/**
 * Time charts, fetched beside the first page: the frame, the figures and the host map do not wait for the drawing of
 * lines. Until then a chart is an empty box of its size, so that nothing moves when it comes.
 */
import type { ComponentProps } from "preact";
import { lazy } from "../../lib/lazy";

const charts = lazy(() => import("./TimeChart"));
// Asked for as soon as the first page runs: it has charts.
charts.load();

type Props = ComponentProps<typeof import("./TimeChart").TimeChart>;

export function TimeChart(props: Props) {
  const loaded = charts.part.value;
  if (loaded) return <loaded.TimeChart {...props} />;
  return (
    <>
      {props.legend !== false && (
        <div class="lg">
          <span class="k">&nbsp;</span>
        </div>
      )}
      <div class="ch" style={{ height: `${props.height}px` }}>
        {charts.failed.value && (
          <p class="ch-empty">
            The charts could not be loaded from the server.{" "}
            <button type="button" class="lk" onClick={() => window.location.reload()}>
              Load again
            </button>
          </p>
        )}
      </div>
    </>
  );
}

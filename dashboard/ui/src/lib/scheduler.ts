/** One animation-frame loop for every chart: work is spread over frames so that none takes long. */

/** Milliseconds of drawing per frame. */
const FRAME_BUDGET_MS = 8;

const waiting = new Map<object, () => void>();
let frame = 0;

function run(): void {
  frame = 0;
  const end = performance.now() + FRAME_BUDGET_MS;
  for (const [key, draw] of waiting) {
    waiting.delete(key);
    draw();
    if (performance.now() > end) break;
  }
  if (waiting.size > 0) frame = requestAnimationFrame(run);
}

/** Asks for `draw` in the next frame. A later request with the same key replaces an earlier one. */
export function schedule(key: object, draw: () => void): void {
  waiting.set(key, draw);
  if (frame === 0) frame = requestAnimationFrame(run);
}

/** Forgets a request, when its owner is gone. */
export function cancel(key: object): void {
  waiting.delete(key);
}

/** Draws all that was asked for now: paper does not wait for a frame. */
export function flush(): void {
  cancelAnimationFrame(frame);
  frame = 0;
  const all = [...waiting.values()];
  waiting.clear();
  for (const draw of all) draw();
}

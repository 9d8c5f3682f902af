/** Keeps labels of one row apart. Pure geometry, drawn elsewhere. */

/** A label that wants its middle at `x` and takes `half` pixels to each side. */
export interface WantedLabel {
  x: number;
  half: number;
}

/**
 * Middles of labels given from left to right, each as near to where it wants to be as its neighbours and the edges 0
 * and `width` allow. When they cannot all fit, the leftmost run over the left edge.
 */
export function spread(labels: readonly WantedLabel[], width: number): number[] {
  const middles: number[] = [];
  let end = 0;
  for (const l of labels) {
    const middle = Math.max(l.x, end + l.half);
    middles.push(middle);
    end = middle + l.half;
  }
  let edge = width;
  for (let i = labels.length - 1; i >= 0; i--) {
    const { half } = labels[i] as WantedLabel;
    middles[i] = Math.min(middles[i] as number, edge - half);
    edge = (middles[i] as number) - half;
  }
  return middles;
}

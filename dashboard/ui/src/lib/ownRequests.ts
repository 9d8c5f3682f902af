/** Rates of Starling's own requests, as `/api/v1/series` answers them. */

export interface OwnAnswer {
  /** Steps of the answer, which are cut at whole minutes. */
  points: { seconds: number }[];
  series: { attributes?: { protocol?: string }; statistics: { values: (number | null)[] }[] }[];
}

/** Requests per second of each protocol over all seconds with data. */
export function meanByProtocol({ points, series }: OwnAnswer): Map<string, number> {
  const means = new Map<string, number>();
  for (const { attributes, statistics } of series) {
    let requests = 0;
    let seconds = 0;
    statistics[0]?.values.forEach((rate, i) => {
      const n = points[i]?.seconds ?? 0;
      if (rate === null || n === 0) return;
      requests += rate * n;
      seconds += n;
    });
    if (seconds > 0) means.set(attributes?.protocol ?? "", requests / seconds);
  }
  return means;
}

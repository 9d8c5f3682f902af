import { expect, test } from "vitest";
import { meanByProtocol } from "./ownRequests";

test("steps count by their seconds, and what is absent is not zero", () => {
  const series = (protocol: string, values: (number | null)[]) => ({
    attributes: { protocol },
    statistics: [{ values }],
  });
  const answer = {
    points: [{ seconds: 45 }, { seconds: 15 }],
    series: [series("grpc", [2, 6]), series("http1", [null, 4]), series("http2", [null, null])],
  };
  expect([...meanByProtocol(answer)]).toEqual([
    ["grpc", 3],
    ["http1", 4],
  ]);
});

import { expect, test } from "vitest";
import { reportCsv } from "./connections";

test("a report is a CSV that no name breaks and none runs", () => {
  const csv = reportCsv({
    time: "2026-11-28T10:00:00.000Z",
    of: "all nodes",
    states: [["time_wait", 1234]],
    nodes: [
      ['a,"b', 3],
      ["=1+1", undefined],
      ["silent", Number.NaN],
    ],
  });
  expect(csv.split("\r\n")).toEqual([
    "time,of,part,name,sockets",
    "2026-11-28T10:00:00.000Z,all nodes,state,time_wait,1234",
    '2026-11-28T10:00:00.000Z,all nodes,node,"a,""b",3',
    "2026-11-28T10:00:00.000Z,all nodes,node,'=1+1,",
    "2026-11-28T10:00:00.000Z,all nodes,node,silent,",
    "",
  ]);
});

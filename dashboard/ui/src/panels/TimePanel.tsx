/** One line of the table of panels, drawn. */
import type { ComponentProps } from "preact";
import { ChartPanel } from "../components/ChartPanel";
import { noted } from "../lib/complete";
import { networkScale, PANELS, type PanelName } from "./table";

type ChartProps = ComponentProps<typeof ChartPanel>;

interface Props
  extends Pick<ChartProps, "view" | "references" | "controls" | "totalColumn" | "noDataLabel" | "stacked"> {
  panel: PanelName;
  /** In place of the note of the table. */
  note?: string;
  /** Why nothing may be there, in place of what the table says: of a node that is silent. */
  absent?: string | undefined;
  /** In place of what the table says when nothing is there. */
  empty?: ChartProps["empty"];
  /** What the panel is over, after its note: "all nodes". */
  over?: string | undefined;
  width?: ChartProps["width"];
  height?: number;
}

export function TimePanel({ panel, note, absent, empty, over, width = 4, height = 132, ...chart }: Props) {
  const { scale, note: usual, ...line } = { ...PANELS[panel], ...(panel === "network" && networkScale()) };
  const said = noted(note ?? usual, over);
  return (
    <ChartPanel
      {...line}
      {...scale}
      {...chart}
      {...((absent ?? empty) === undefined ? {} : { empty: absent ?? empty })}
      width={width}
      height={height}
      {...(said === "" ? {} : { note: said })}
    />
  );
}

/** Files for programs, whatever the language of the browser. Pure. */

/** A column of a file: its head, and its values by point. */
export interface CsvColumn {
  head: string;
  values: readonly (number | null)[];
}

/** A field of RFC 4180; what a table program would take for a formula begins with an apostrophe. */
export const field = (text: string) => {
  const plain = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
};

/** A file for programs: times in RFC 3339, numbers with all their figures, nothing where nothing is known. */
export function csv(ticks: readonly number[], columns: readonly CsvColumn[]): string {
  const rows = ticks.map((tick, i) => {
    const cells = columns.map(({ values }) => {
      const v = values[i] ?? null;
      return v === null || !Number.isFinite(v) ? "" : String(v);
    });
    return [new Date(tick * 1000).toISOString(), ...cells].join(",");
  });
  return [["time", ...columns.map((is) => field(is.head))].join(","), ...rows, ""].join("\r\n");
}

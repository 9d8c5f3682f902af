/** The series that a server lists, by name, and finding among them. Pure. */

/** A name of the list of series, with everything that is known of it. */
export interface Listed {
  name: string;
  kind: string;
  unit: string;
  /** Values of each attribute. */
  attributes: Map<string, string[]>;
  count: number;
}

export interface ListedSeries {
  name: string;
  attributes: Record<string, string>;
  kind: string;
  unit: string;
}

/** The series by name, in order. */
export function byName(series: readonly ListedSeries[]): Listed[] {
  const names = new Map<string, Listed>();
  for (const { name, kind, unit, attributes } of series) {
    let is = names.get(name);
    if (is === undefined) {
      is = { name, kind, unit, attributes: new Map(), count: 0 };
      names.set(name, is);
    }
    is.count++;
    for (const [key, value] of Object.entries(attributes)) {
      const values = is.attributes.get(key) ?? [];
      if (!values.includes(value)) values.push(value);
      is.attributes.set(key, values);
    }
  }
  return [...names.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Names that hold every word, in the name, its unit or an attribute; those that begin with the first word come first. */
export function matching(names: readonly Listed[], text: string): Listed[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const first = words[0] ?? "";
  const rank = ({ name }: Listed) =>
    name.toLowerCase().startsWith(first) ? 0 : name.toLowerCase().includes(first) ? 1 : 2;
  const holds = (is: Listed) => {
    const text = [is.name, is.unit, ...[...is.attributes].flatMap(([key, values]) => [key, ...values])]
      .join("\n")
      .toLowerCase();
    return words.every((word) => text.includes(word));
  };
  return names.filter(holds).sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
}

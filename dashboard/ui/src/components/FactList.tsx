/** Pairs of name and value. */

interface Props {
  facts: readonly (readonly [name: string, value: string])[];
  /** Layout: `facts` is one line, `kv` a list. */
  class: string;
}

export function FactList({ facts, class: layout }: Props) {
  return (
    <dl class={layout}>
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

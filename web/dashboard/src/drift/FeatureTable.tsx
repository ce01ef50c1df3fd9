import type { FeatureDrift } from "../api/wire";
import { Chip } from "../ui/Chip";
import { pValue, short } from "../ui/format";
import { LinkButton } from "../ui/LinkButton";
import { type Column, VirtualTable } from "../ui/VirtualTable";

type Props = {
  features: readonly FeatureDrift[];
  chosen: string | null;
  onChoose: (name: string) => void;
};

export function FeatureTable({ features, chosen, onChoose }: Props) {
  const columns: readonly Column<FeatureDrift>[] = [
    {
      key: "name",
      head: "Column",
      cell: ({ name }) => (
        <LinkButton
          className="font-mono text-xs"
          onClick={(event) => {
            event.stopPropagation();
            onChoose(name);
          }}
        >
          {name}
        </LinkButton>
      ),
    },
    {
      key: "verdict",
      head: "Verdict",
      cell: ({ drifted }) =>
        drifted ? <Chip tone="bad">drifted</Chip> : <Chip tone="good">as before</Chip>,
    },
    { key: "effect", head: "Effect against limit", cell: (feature) => <Effect {...feature} /> },
    {
      key: "p",
      head: "Adjusted p",
      isNumber: true,
      cell: ({ p_adjusted }) => <span className="font-mono text-xs">{pValue(p_adjusted)}</span>,
    },
  ];
  return (
    <VirtualTable
      name="Table of columns"
      columns={columns}
      rows={features}
      idOf={({ name }) => name}
      selected={chosen}
      onSelect={({ name }) => onChoose(name)}
      height="max-h-[52rem]"
    />
  );
}

const WIDTH = 90;

/** The effect as a bar that ends where the limit lies at half its width. */
function Effect({ effect, limit, drifted }: FeatureDrift) {
  const share = effect === null || !limit ? null : Math.min(1, effect / (2 * limit));
  return (
    <span className="flex items-center gap-2">
      {share !== null && (
        <svg viewBox={`0 0 ${WIDTH} 12`} aria-hidden="true" className="h-3 w-22 shrink-0">
          <rect y={3} width={WIDTH} height={6} rx={3} className="fill-line" />
          <rect
            y={3}
            width={WIDTH * share}
            height={6}
            rx={3}
            className={drifted ? "fill-danger" : "fill-one"}
          />
          <line x1={WIDTH / 2} x2={WIDTH / 2} y1={0} y2={12} className="stroke-ink" />
        </svg>
      )}
      <span className="font-mono text-xs">
        {short(effect)} / {short(limit)}
      </span>
    </span>
  );
}

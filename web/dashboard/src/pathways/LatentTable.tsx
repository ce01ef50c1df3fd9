import { studyPath } from "../api/http";
import { useResource } from "../api/useResource";
import type { Latent, Latents } from "../api/wire";
import { Card } from "../ui/Card";
import { compact, count, percent, pValue, short } from "../ui/format";
import { Shown } from "../ui/Shown";
import { type Column, VirtualTable } from "../ui/VirtualTable";
import { Estimate } from "./Estimate";
import { LatentLink } from "./LatentLink";

type Props = { study: string; chosen: string | null; onChoose: (latent: string) => void };

/** Every latent of the study. */
export function LatentTable({ study, chosen, onChoose }: Props) {
  const latents = useResource<Latents>(studyPath(study, "/latents"), { every: null });
  return (
    <Card title="Latents">
      <Shown resource={latents} what="the latents">
        {({ latents: rows }) => (
          <VirtualTable
            name="Table of latents"
            columns={columnsOf(rows, onChoose)}
            rows={rows}
            idOf={({ name }) => name}
            selected={chosen}
            onSelect={({ name }) => onChoose(name)}
            height="max-h-[26rem]"
          />
        )}
      </Shown>
    </Card>
  );
}

function columnsOf(
  rows: readonly Latent[],
  onChoose: (latent: string) => void,
): readonly Column<Latent>[] {
  const figure = (value: string) => <span className="font-mono text-xs">{value}</span>;
  // Not spread into one call: a study may have more latents than a call takes arguments.
  const reach = rows.reduce(
    (most, { effect_low, effect_high }) =>
      Math.max(most, Math.abs(effect_low ?? 0), Math.abs(effect_high ?? 0)),
    0.5,
  );
  return [
    {
      key: "name",
      head: "Latent",
      cell: ({ name }) => <LatentLink name={name} onChoose={onChoose} />,
    },
    {
      key: "g",
      head: "Hedges’ g, 95 %",
      sortBy: ({ hedges_g }) => hedges_g,
      cell: ({ hedges_g, effect_low, effect_high }) => (
        <Estimate value={hedges_g} low={effect_low} high={effect_high} reach={reach} />
      ),
    },
    {
      key: "q",
      head: "Adjusted p",
      isNumber: true,
      sortBy: ({ q }) => q,
      cell: ({ q }) => figure(pValue(q)),
    },
    {
      key: "decision",
      head: "On the decision",
      sortBy: ({ decision_effect }) => decision_effect,
      isNumber: true,
      isExtra: true,
      cell: ({ decision_effect }) => figure(short(decision_effect)),
    },
    {
      key: "active",
      head: "Active",
      sortBy: ({ active_share }) => active_share,
      isNumber: true,
      isExtra: true,
      cell: ({ active_share }) => figure(percent(active_share)),
    },
    {
      key: "edges",
      head: "In / out",
      sortBy: ({ n_upstream = 0, n_downstream = 0 }) => n_upstream + n_downstream,
      isNumber: true,
      cell: ({ n_upstream, n_downstream }) =>
        figure(`${count(n_upstream)} / ${count(n_downstream)}`),
    },
    {
      key: "tokens",
      head: "Tokens",
      isExtra: true,
      cell: ({ top_tokens }) => (
        <span className="font-mono text-xs">{(top_tokens ?? []).map(compact).join(" ")}</span>
      ),
    },
  ];
}

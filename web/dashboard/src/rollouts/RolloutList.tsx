import type { RolloutBrief } from "../api/wire";
import { Chip } from "../ui/Chip";
import { clock, percent, span } from "../ui/format";
import { LinkButton } from "../ui/LinkButton";
import { type Column, VirtualTable } from "../ui/VirtualTable";
import { phaseOf } from "../inference/phases";

type Props = {
  rollouts: readonly RolloutBrief[];
  chosen: string | null;
  onChoose: (id: string) => void;
};

export function RolloutList({ rollouts, chosen, onChoose }: Props) {
  const columns: readonly Column<RolloutBrief>[] = [
    {
      key: "started",
      head: "Started",
      cell: ({ id, started_s }) => (
        <LinkButton
          className="tabular-nums"
          aria-label={`Show the rollout of ${clock(started_s)}`}
          onClick={(event) => {
            event.stopPropagation();
            onChoose(id);
          }}
        >
          {clock(started_s)}
        </LinkButton>
      ),
    },
    {
      key: "phase",
      head: "Phase",
      cell: (rollout) => {
        const phase = phaseOf(rollout);
        return <Chip tone={phase.tone}>{phase.name}</Chip>;
      },
    },
    {
      key: "challenger",
      head: "Challenger",
      cell: ({ challenger }) => <span className="font-mono text-xs">{challenger}</span>,
    },
    {
      key: "champion",
      head: "Champion then",
      isExtra: true,
      cell: ({ champion }) => <span className="font-mono text-xs">{champion}</span>,
    },
    {
      key: "weight",
      head: "Share",
      isNumber: true,
      isExtra: true,
      cell: ({ weight }) => percent(weight, 0),
    },
    {
      key: "took",
      head: "Took",
      isNumber: true,
      cell: ({ started_s, updated_s }) => span(updated_s - started_s),
    },
  ];
  return (
    <VirtualTable
      name="All rollouts, newest first"
      columns={columns}
      rows={rollouts}
      idOf={({ id }) => id}
      selected={chosen}
      onSelect={({ id }) => onChoose(id)}
      height="max-h-80"
    />
  );
}

import type { AliasMove, Version } from "../api/wire";
import { Empty } from "../ui/Empty";
import { clock } from "../ui/format";
import { type Column, VirtualTable } from "../ui/VirtualTable";

type Props = { moves: readonly AliasMove[]; versions: readonly Version[] };

/** Who moved which alias, when and why; newest first. */
export function MoveHistory({ moves, versions }: Props) {
  if (moves.length === 0) return <Empty title="No alias was ever moved" />;
  const named = (model: string, number: number | null) =>
    number === null
      ? "none"
      : (versions.find((each) => each.model === model && each.number === number)?.name ??
        `${model} ${number}`);
  const columns: readonly Column<AliasMove>[] = [
    {
      key: "time",
      head: "Time",
      cell: ({ time_s }) => <span className="tabular-nums">{clock(time_s)}</span>,
    },
    { key: "alias", head: "Alias", cell: ({ alias }) => alias.replaceAll("_", " ") },
    {
      key: "move",
      head: "From → to",
      cell: ({ model, before, after }) => (
        <span className="font-mono text-xs">
          {named(model, before)} <span aria-label="to">→</span> {named(model, after)}
        </span>
      ),
    },
    { key: "actor", head: "By", isExtra: true, cell: ({ actor }) => actor },
    {
      key: "reason",
      head: "Reason",
      isExtra: true,
      cell: ({ reason }) => (
        <span title={reason}>{reason === "" ? "–" : reason.replace(/^Rollout \S+: /, "")}</span>
      ),
    },
  ];
  return (
    <VirtualTable
      name="Moves of aliases, newest first"
      columns={columns}
      rows={moves.toSorted((one, other) => other.sequence - one.sequence)}
      idOf={({ sequence }) => String(sequence)}
      height="max-h-96"
    />
  );
}

import type { Version } from "../api/wire";
import { Chip, type ChipTone } from "../ui/Chip";
import { day } from "../ui/format";
import { LinkButton } from "../ui/LinkButton";
import { type Column, VirtualTable } from "../ui/VirtualTable";
import { leadingMetricsOf } from "./metadata";

type Props = {
  versions: readonly Version[];
  chosen: string | null;
  onChoose: (name: string) => void;
};

function toneOf(alias: string): ChipTone {
  if (alias === "champion") return "good";
  return alias.startsWith("challenger") ? "info" : "plain";
}

export function Aliases({ aliases }: { aliases: readonly string[] }) {
  return (
    <span className="inline-flex flex-wrap gap-1">
      {aliases.map((alias) => (
        <Chip key={alias} tone={toneOf(alias)}>
          {alias.replaceAll("_", " ")}
        </Chip>
      ))}
    </span>
  );
}

const modelColumn: Column<Version> = { key: "model", head: "Model", cell: ({ model }) => model };

export function VersionTable({ versions, chosen, onChoose }: Props) {
  const columns: readonly Column<Version>[] = [
    {
      key: "name",
      head: "Version",
      cell: ({ name }) => (
        <LinkButton
          className="font-mono text-xs"
          title={name}
          onClick={(event) => {
            event.stopPropagation();
            onChoose(name);
          }}
        >
          {name}
        </LinkButton>
      ),
    },
    ...(new Set(versions.map(({ model }) => model)).size > 1 ? [modelColumn] : []),
    { key: "aliases", head: "Aliases", cell: ({ aliases }) => <Aliases aliases={aliases} /> },
    { key: "kind", head: "Kind", isExtra: true, cell: ({ kind }) => kind },
    {
      key: "metrics",
      head: "Evaluation",
      isExtra: true,
      cell: (version) => (
        <span className="text-xs tabular-nums">
          {leadingMetricsOf(version)
            .map(([name, value]) => `${name} ${value}`)
            .join(" · ") || "–"}
        </span>
      ),
    },
    {
      key: "created",
      head: "Registered",
      isExtra: true,
      cell: ({ created_s }) => <span className="tabular-nums">{day(created_s)}</span>,
    },
  ];
  return (
    <VirtualTable
      name="Registered versions, newest first"
      columns={columns}
      rows={versions}
      idOf={({ name }) => name}
      selected={chosen}
      onSelect={({ name }) => onChoose(name)}
    />
  );
}

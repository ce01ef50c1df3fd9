import type { Reference } from "../api/wire";
import { Chip } from "../ui/Chip";
import { Empty } from "../ui/Empty";
import { clock, count } from "../ui/format";
import { type Column, VirtualTable } from "../ui/VirtualTable";

const columns: readonly Column<Reference>[] = [
  {
    key: "made",
    head: "Made",
    cell: ({ created_s, is_current }) => (
      <>
        <span className="tabular-nums">{clock(created_s)}</span>{" "}
        {is_current === true && <Chip tone="good">in use</Chip>}
      </>
    ),
  },
  {
    key: "id",
    head: "Reference",
    cell: ({ reference_id }) => <span className="font-mono text-xs">{reference_id}</span>,
  },
  { key: "rows", head: "Rows", isNumber: true, cell: ({ n_rows }) => count(n_rows) },
  {
    key: "version",
    head: "Version",
    isExtra: true,
    cell: ({ model_version }) => <span className="font-mono text-xs">{model_version}</span>,
  },
  {
    key: "digest",
    head: "Digest",
    isExtra: true,
    cell: ({ digest }) => (
      <span className="font-mono text-xs text-muted" title={digest}>
        {digest.slice(0, 12)}
      </span>
    ),
  },
];

export function ReferenceTable({ references }: { references: readonly Reference[] }) {
  if (references.length === 0) return <Empty title="None yet" />;
  return (
    <VirtualTable
      name="References, newest first"
      columns={columns}
      rows={references}
      idOf={({ reference_id }) => reference_id}
      height="max-h-64"
    />
  );
}

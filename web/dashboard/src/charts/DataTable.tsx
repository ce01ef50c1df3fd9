import { useState } from "react";

import { ScrollBox } from "../ui/ScrollBox";

type Props = {
  /** What the numbers are. */
  name: string;
  head: readonly string[];
  rows: readonly (readonly string[])[];
};

/** A chart's numbers as a table, behind a line that unfolds it and makes it only then. */
export function DataTable({ name, head, rows }: Props) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details className="mt-1 text-xs" onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary className="w-fit rounded text-muted hover:text-ink">Show the numbers</summary>
      {isOpen && <Numbers name={name} head={head} rows={rows} />}
    </details>
  );
}

function Numbers({ name, head, rows }: Props) {
  return (
    <ScrollBox name={name} className="mt-1 max-h-64">
      <table className="w-full border-collapse tabular-nums">
        <caption className="sr-only">{name}</caption>
        <thead>
          <tr>
            {head.map((each) => (
              <th key={each} scope="col" className="px-2 py-1 text-left font-medium text-muted">
                {each}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, at) => (
            <tr key={at} className="border-t border-line">
              {row.map((cell, column) => (
                <td key={column} className="px-2 py-0.5 font-mono whitespace-nowrap">
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </ScrollBox>
  );
}

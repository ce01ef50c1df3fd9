import type { AuditEntry } from "../api/wire";
import { Chip } from "../ui/Chip";
import { digits } from "../ui/format";

/** What was answered: the class with its probability, a number, or that it failed. */
export function AnswerCell({ entry }: { entry: AuditEntry }) {
  if (entry.status === "error") return <Chip tone="bad">{entry.error_code ?? "failed"}</Chip>;
  if (entry.label == null) return <span className="font-mono">{digits(entry.prediction)}</span>;
  return (
    <span className="flex gap-1.5">
      <bdi className="truncate" title={entry.label}>
        {entry.label}
      </bdi>
      <span className="font-mono text-muted">{digits(entry.confidence)}</span>
    </span>
  );
}

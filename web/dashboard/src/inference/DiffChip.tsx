import type { AuditEntry } from "../api/wire";
import { Chip } from "../ui/Chip";
import { digits } from "../ui/format";
import { differenceOf } from "./difference";

/** A difference on the colour of its size. */
export function DiffChip({ diff, noiseFloor }: { diff: number; noiseFloor?: number | null }) {
  const { tone, word } = differenceOf(diff, noiseFloor);
  return (
    <Chip tone={tone}>
      <span className="font-mono">{digits(diff)}</span>
      <span className="sr-only"> {word}</span>
    </Chip>
  );
}

const words: Partial<Record<NonNullable<AuditEntry["shadow_status"]>, string>> = {
  pending: "awaited",
  error: "failed",
  timeout: "too slow",
  dropped: "dropped",
  sampled_out: "not chosen",
  breaker_open: "not tried",
  disabled: "off",
};

/** What became of the challenger's copy: its difference, or why there is none. */
export function ShadowOutcome({ entry }: { entry: AuditEntry }) {
  if (entry.shadow_diff != null) return <DiffChip diff={entry.shadow_diff} />;
  const word = entry.shadow_status == null ? undefined : words[entry.shadow_status];
  return <span className="text-xs text-muted">{word ?? "–"}</span>;
}

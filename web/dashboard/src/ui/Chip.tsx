import type { ReactNode } from "react";

export type ChipTone = "plain" | "good" | "warn" | "bad" | "info";

const looks: Record<ChipTone, string> = {
  plain: "border-line bg-sunken text-ink",
  good: "border-good bg-good-soft text-good",
  warn: "border-warning bg-warning-soft text-warning",
  bad: "border-danger bg-danger-soft text-danger",
  info: "border-accent bg-accent-soft text-accent-strong",
};

/** Said by shape as well, for those who do not see the colour. */
const signs: Record<ChipTone, string> = { plain: "", good: "✓", warn: "!", bad: "✕", info: "" };

/** A word about the state of something. */
export function Chip({ tone = "plain", children }: { tone?: ChipTone; children: ReactNode }) {
  const sign = signs[tone];
  return (
    <span
      className={`inline-flex items-center gap-1 rounded-full border px-2 py-px text-xs font-medium whitespace-nowrap ${looks[tone]}`}
    >
      {sign !== "" && <span aria-hidden="true">{sign}</span>}
      {children}
    </span>
  );
}

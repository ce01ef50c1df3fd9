import type { DriftEstimate } from "../api/wire";
import { counted, digits } from "../ui/format";
import { Stat } from "../ui/Stat";

/** Where a measure comes from, as its name goes on. */
export const methodNames = {
  estimated: "estimated, no labels",
  realised: "measured on labels",
} as const;

/** A measure of quality beside what it was in the reference. */
export function EstimateStat({ name, estimate }: { name: string; estimate: DriftEstimate | null }) {
  if (estimate === null) return <Stat name={`Quality ${name}`} value="–" hint="not known" />;
  const bounds =
    estimate.low === null ? "" : `${digits(estimate.low)} to ${digits(estimate.high)}, `;
  return (
    <Stat
      name={`${estimate.metric}, ${name}`}
      value={digits(estimate.value)}
      tone={estimate.fell === true ? "bad" : "plain"}
      hint={`${bounds}was ${digits(estimate.reference)} (${counted(estimate.n, "row")})`}
    />
  );
}

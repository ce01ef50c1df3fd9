import type { ChipTone } from "../ui/Chip";

/** What replay said of a pathway. */
export function verdictOf(verified: boolean | null | undefined): { name: string; tone: ChipTone } {
  if (verified === true) return { name: "confirmed", tone: "good" };
  if (verified === false) return { name: "not confirmed", tone: "warn" };
  return { name: "not replayed", tone: "plain" };
}

/** A condition of the patching study as words: `risky_with_safe_patch` is risky with safe patch. */
export function conditionWords(condition: string): string {
  return condition.replaceAll("_", " ");
}

import type { ChipTone } from "../ui/Chip";

/** Up to here two answers are taken as the same one. */
const CLOSE = 0.05;

/** From here on they are not. */
const FAR = 0.15;

export type Difference = { tone: ChipTone; word: "close" | "apart" | "far apart" };

/**
 * How a difference between answer and challenger is coloured.
 *
 * Differences of probabilities lie in [0, 1]. What the champion differs from itself by is no sign
 * of a challenger, so the noise floor is the least that counts.
 */
export function differenceOf(diff: number, noiseFloor: number | null = null): Difference {
  if (diff <= Math.max(CLOSE, noiseFloor ?? 0)) return { tone: "good", word: "close" };
  if (diff <= FAR) return { tone: "warn", word: "apart" };
  return { tone: "bad", word: "far apart" };
}

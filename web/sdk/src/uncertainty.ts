/** How unsure a text sounds: the untrained combination of its entropy and its probabilities. */
import { UsageError } from "./errors.js";

/** Entropy that counts as fully uncertain, nats. */
const ENTROPY_SCALE = 5;

/** Mean probability assumed of a text without tokens. */
const UNKNOWN_PROB = 0.5;

/** What the estimate is made of. */
export type Sounded = {
  /** Mean entropy over the text's tokens, nats. */
  logitsEntropy: number;
  /** Probability of each token, in [0, 1]. */
  generationProbs: readonly number[];
};

/**
 * Uncertainty in [0, 1], higher is worse: the mean of `min(1, entropy / 5)` and one minus the mean
 * probability; a text without tokens counts as 0.5 there.
 *
 * Nobody validated it: it says how sure the model sounds, not how often it is right. For that,
 * calibrated on data, ask `GlassboxClient.verify`. The Python function `estimate_uncertainty` gives
 * the same number.
 *
 * Source: the Shadow Self's client, method estimateUncertainty.
 */
export function estimateUncertainty({ logitsEntropy, generationProbs }: Sounded): number {
  if (!(logitsEntropy >= 0 && Number.isFinite(logitsEntropy))) {
    throw wrong("logitsEntropy", logitsEntropy, "nats, 0 or more");
  }
  let sum = 0;
  for (const prob of generationProbs) {
    if (!(prob >= 0 && prob <= 1)) throw wrong("generationProbs", prob, "probabilities in [0, 1]");
    sum += prob;
  }
  const average = generationProbs.length > 0 ? sum / generationProbs.length : UNKNOWN_PROB;
  return (Math.min(1, logitsEntropy / ENTROPY_SCALE) + (1 - average)) / 2;
}

function wrong(what: string, value: number, allowed: string): UsageError {
  return new UsageError(`${what} is ${value}; allowed: ${allowed}.`, { code: "invalid-value" });
}

/** Tokens of an answer as the page draws them, from either of OpenAI's two shapes. */
import type { components } from "../api/schema";

type Schemas = components["schemas"];

export type Candidate = { text: string; prob: number };

export type Token = {
  text: string;
  id: number | null;
  /** Probability under the model's raw distribution, [0, 1]. */
  prob: number;
  /** Entropy of that distribution before the token, nats. */
  entropy: number | null;
  /** Most probable tokens there, best first. */
  top: Candidate[];
};

/** Readings of a probe over the prompt's and the answer's positions, as log-odds. */
export type Readings = Record<string, number[]>;

export type Extension = Schemas["GlassboxChunk"] & Partial<Schemas["GlassboxAnswered"]>;

export type Step = {
  text: string;
  tokens: Token[];
  extension: Extension | null;
  finish: string | null;
};

type Chunk = {
  choices?: {
    text?: string;
    delta?: { content?: string | null };
    logprobs?: unknown;
    finish_reason?: string | null;
    glassbox?: Extension | null;
  }[];
  usage?: Schemas["Usage"] | null;
  error?: { message?: string; code?: string | null };
};

/** What one chunk of a stream adds; null for a chunk that only counts. */
export function stepOf(chunk: Chunk): Step | null {
  const choice = chunk.choices?.[0];
  if (choice === undefined) return null;
  const extension = choice.glassbox ?? null;
  const pieces = piecesOf(choice.logprobs);
  const tokens = pieces.map((piece, at) => ({
    ...piece,
    id: extension?.token_ids[at] ?? null,
    entropy: extension?.entropies?.[at] ?? null,
  }));
  return {
    text: choice.text ?? choice.delta?.content ?? "",
    tokens,
    extension,
    finish: choice.finish_reason ?? null,
  };
}

type Piece = Pick<Token, "text" | "prob" | "top">;

function piecesOf(logprobs: unknown): Piece[] {
  if (typeof logprobs !== "object" || logprobs === null) return [];
  if ("content" in logprobs) {
    return (logprobs as Schemas["ChatLogprobs"]).content.map((each) => ({
      text: each.token,
      prob: Math.exp(each.logprob),
      top: each.top_logprobs.map((one) => ({ text: one.token, prob: Math.exp(one.logprob) })),
    }));
  }
  const { tokens, token_logprobs, top_logprobs } = logprobs as Schemas["CompletionLogprobs"];
  return tokens.map((text, at) => ({
    text,
    prob: Math.exp(token_logprobs[at] ?? -Infinity),
    top: Object.entries(top_logprobs?.[at] ?? {})
      .map(([token, logprob]) => ({ text: token, prob: Math.exp(logprob) }))
      .sort((left, right) => right.prob - left.prob),
  }));
}

/** Surprise at a token, nats: the negative logarithm of its probability. */
export function surprisal(token: Token): number {
  return -Math.log(token.prob);
}

export function logistic(logOdds: number): number {
  return 1 / (1 + Math.exp(-logOdds));
}

/** The geometric mean of the tokens' probabilities, [0, 1]; null without tokens. */
export function meanProbability(tokens: readonly Token[]): number | null {
  if (tokens.length === 0) return null;
  const total = tokens.reduce((sum, token) => sum + Math.log(token.prob), 0);
  return Math.exp(total / tokens.length);
}

export function meanEntropy(tokens: readonly Token[]): number | null {
  const known = tokens.flatMap((token) => (token.entropy === null ? [] : [token.entropy]));
  if (known.length === 0) return null;
  return known.reduce((sum, entropy) => sum + entropy, 0) / known.length;
}

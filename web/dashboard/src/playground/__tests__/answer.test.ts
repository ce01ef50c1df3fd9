import { expect, test } from "vitest";

import { type Answer, reduce } from "../answer";
import { candidates } from "../Inspector";
import { readingAt } from "../ProbeStrips";
import { defaults } from "../request";
import { meanEntropy, meanProbability, stepOf, type Token } from "../tokens";

const half = Math.log(0.5);

const completionChunk = {
  choices: [
    {
      text: " Oslo",
      logprobs: {
        tokens: [" Oslo"],
        token_logprobs: [half],
        top_logprobs: [{ " Rome": Math.log(0.2), " Oslo": half }],
        text_offset: [0],
      },
      finish_reason: null,
      glassbox: { token_ids: [42], entropies: [1.25], probe_logits: { honest: [0, 1, 2] } },
    },
  ],
};

const chatChunk = {
  choices: [
    {
      delta: { content: " Oslo" },
      logprobs: {
        content: [
          {
            token: " Oslo",
            logprob: half,
            bytes: null,
            top_logprobs: [
              { token: " Oslo", logprob: half, bytes: null },
              { token: " Rome", logprob: Math.log(0.2), bytes: null },
            ],
          },
        ],
      },
      finish_reason: null,
      glassbox: { token_ids: [42], entropies: [1.25] },
    },
  ],
};

function begun(): Answer | null {
  return reduce(null, { kind: "begun", prompt: "p", settings: defaults });
}

test("both of OpenAI's shapes give the same token, best alternative first", () => {
  const [one, other] = [stepOf(completionChunk), stepOf(chatChunk)];
  expect(one?.tokens).toEqual(other?.tokens);
  expect(one?.tokens[0]).toMatchObject({ text: " Oslo", id: 42, entropy: 1.25 });
  expect(one?.tokens[0]?.top.map(({ text }) => text)).toEqual([" Oslo", " Rome"]);
});

test("an answer grows by chunks and keeps what had come when it fails", () => {
  let answer = reduce(begun(), { kind: "chunk", chunk: completionChunk });
  answer = reduce(answer, { kind: "chunk", chunk: completionChunk });
  answer = reduce(answer, { kind: "ended", problem: null, stopped: true });
  expect(answer).toMatchObject({ text: " Oslo Oslo", state: "stopped" });
  expect(answer?.tokens).toHaveLength(2);
});

test("a chunk without choices only counts", () => {
  const usage = { prompt_tokens: 3, completion_tokens: 0, total_tokens: 3 };
  const answer = reduce(begun(), { kind: "chunk", chunk: { choices: [], usage } });
  expect(answer?.usage?.prompt_tokens).toBe(3);
  expect(answer?.tokens).toEqual([]);
});

test("readings stand at the tokens they were read at; the last token has none", () => {
  // Three positions of the prompt come with the first token, one more with each later token.
  let answer = reduce(begun(), { kind: "chunk", chunk: completionChunk });
  const later = {
    choices: [
      {
        ...completionChunk.choices[0],
        glassbox: { token_ids: [7], probe_logits: { honest: [9] } },
      },
    ],
  };
  answer = reduce(answer, { kind: "chunk", chunk: later });
  if (answer === null) throw new Error("no answer");
  expect(readingAt(answer, "honest", 0)).toBe(9);
  expect(readingAt(answer, "honest", 1)).toBeNull();
  expect(readingAt(answer, "unknown", 0)).toBeNull();
});

const token: Token = { text: "a", id: 1, prob: 0.25, entropy: 2, top: [{ text: "b", prob: 0.5 }] };

test("means are over the tokens: geometric for probabilities", () => {
  const sure = { ...token, prob: 1, entropy: 0 };
  expect(meanProbability([token, sure])).toBeCloseTo(0.5);
  expect(meanEntropy([token, sure])).toBe(1);
  expect(meanEntropy([{ ...token, entropy: null }])).toBeNull();
  expect(meanProbability([])).toBeNull();
});

test("a token outside the best ones still stands among its alternatives", () => {
  expect(candidates(token).map(({ text, isWritten }) => [text, isWritten])).toEqual([
    ["b", false],
    ["a", true],
  ]);
});

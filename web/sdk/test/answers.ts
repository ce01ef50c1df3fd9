/** Answers as a Glassbox server gives them. */
import type { Schemas } from "../src/index.js";

export const SHOWN: Schemas["GlassboxAnswered"] = {
  finish_reason: "length",
  token_ids: [5, 6],
  mean_entropy: 1.5,
  entropies: [1, 2],
  logprobs: [-1, -2],
  sampled_entropies: [1, 2],
  sampled_logprobs: [-1, -2],
  adapter_digest: null,
  n_cached: 0,
  timing: { queued_s: 0, first_token_s: 0.1, total_s: 0.2 },
};

const HEAD = { id: "x", created: 1, model: "tiny", system_fingerprint: "f" };
const USAGE = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };

export function completion(...texts: string[]): Schemas["Completion"] {
  const choices = texts.map((text, index) => ({
    index,
    text,
    finish_reason: "length" as const,
    glassbox: SHOWN,
  }));
  return { ...HEAD, choices, usage: USAGE };
}

export function chat(content: string): Schemas["ChatCompletion"] {
  const choice = { index: 0, message: { content }, finish_reason: "length", glassbox: SHOWN };
  return { ...HEAD, choices: [choice], usage: USAGE } as Schemas["ChatCompletion"];
}

/** The events of a text that comes in two pieces. */
export function chunks(first: string, second: string, isChat = false): string[] {
  const piece = (text: string, glassbox: unknown, finish: string | null) => ({
    ...HEAD,
    choices: [
      isChat
        ? { index: 0, delta: { content: text }, finish_reason: finish, glassbox }
        : { index: 0, text, finish_reason: finish, glassbox },
    ],
  });
  const events = [
    piece(first, { token_ids: [5], entropies: [1] }, null),
    piece(second, { token_ids: [6], entropies: [2], final: SHOWN }, "length"),
    { ...HEAD, choices: [], usage: USAGE },
  ];
  const opening = { ...HEAD, choices: [{ index: 0, delta: { role: "assistant" } }] };
  return [...(isChat ? [opening] : []), ...events].map((each) => JSON.stringify(each));
}

export function eventStream(events: readonly string[]): string {
  return events.map((each) => `data: ${each}\n\n`).join("");
}

/** Float32 arrays and texts as safetensors. */
export function safetensors(
  arrays: Record<string, { shape: number[]; data: number[] }>,
  metadata: Record<string, string>,
): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let end = 0;
  for (const [name, { shape, data }] of Object.entries(arrays)) {
    header[name] = { dtype: "F32", shape, data_offsets: [end, end + 4 * data.length] };
    end += 4 * data.length;
  }
  const words = new TextEncoder().encode(JSON.stringify(header));
  const content = new Uint8Array(8 + words.length + end);
  const view = new DataView(content.buffer);
  view.setBigUint64(0, BigInt(words.length), true);
  content.set(words, 8);
  let at = 8 + words.length;
  for (const value of Object.values(arrays).flatMap(({ data }) => data)) {
    view.setFloat32(at, value, true);
    at += 4;
  }
  return content;
}

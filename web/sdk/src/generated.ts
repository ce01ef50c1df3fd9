/** Texts the model writes: what is asked, how answers and streams are read. */
import { messages } from "./events.js";
import { UsageError } from "./errors.js";
import { brokenOff, foreign, objectIn, streamError } from "./problems.js";
import type { Schemas } from "./routes.js";

/** A text, or token ids. */
export type Prompt = string | readonly number[];

/** A conversation. */
export type Messages = readonly Schemas["Message"][];

/** How a text is written, and what is shown of it; the wire's own names, all may be left out. */
export type GenerateAsked = {
  /** Adapter's name or digest, or the base model's name (the default). */
  model?: string | undefined;
  /** Most tokens to write; 256. */
  max_tokens?: number | undefined;
  /** 0 is greedy; 0.7. */
  temperature?: number | undefined;
  /** Smallest set of most probable tokens that reaches this probability; 1. */
  top_p?: number | undefined;
  /** Only so many of the most probable tokens; all. */
  top_k?: number | undefined;
  /** The same seed gives the same text. */
  seed?: number | undefined;
  /** Texts that end the answer. */
  stop?: string | string[] | undefined;
  /** Whether the end-of-text token ends the text; true. */
  stop_at_end?: boolean | undefined;
  /** Alternatives to report at each token; 0. */
  top_logprobs?: number | undefined;
  /** Hidden states to send back. */
  capture?: Schemas["CaptureAsked"] | undefined;
  /** Probes to read: all, or by name. */
  probes?: boolean | string[] | undefined;
  /** Seconds after which the text ends with what there is. */
  deadline_s?: number | undefined;
};

/** One text the model wrote, and what it showed of itself; natural logarithms throughout. */
export type Generated = Schemas["GlassboxAnswered"] & {
  /** The text, without stop string and special tokens. */
  text: string;
  /** Model that answered, by the name the request gave. */
  model: string;
  /** Tokens of all prompts and texts of the request. */
  usage: Schemas["Usage"] | undefined;
  /** Each token as text; empty without `top_logprobs`. */
  tokens: string[];
  /** Most probable tokens at each place; empty without `top_logprobs`. */
  top_logprobs: Record<string, number>[];
  /** Name of the request in the server's log. */
  request_id: string | undefined;
};

/** The next part of a text that is being written. */
export type StreamedPiece = Omit<Schemas["GlassboxChunk"], "final"> & {
  /** More text; may be empty while a character or stop string is unfinished. */
  text: string;
  /** With the last piece: all of it. */
  whole?: Generated;
};

type Completion = Schemas["Completion"];
type Chat = Schemas["ChatCompletion"];
type ChatChunk = Pick<Completion, "model" | "usage"> & {
  choices: {
    delta: { content?: string | null };
    finish_reason?: string | null;
    glassbox?: Schemas["GlassboxChunk"] | null;
  }[];
};
type Shown = Schemas["GlassboxAnswered"] | Schemas["GlassboxChunk"] | null | undefined;

export function completionBody(prompts: readonly Prompt[], asked: GenerateAsked) {
  const { top_logprobs: tops } = asked;
  return { prompt: prompts, ...sampling(asked), ...(tops ? { logprobs: tops } : {}) };
}

export function chatBody(conversation: Messages, asked: GenerateAsked) {
  const { top_logprobs: tops } = asked;
  return {
    messages: conversation,
    ...sampling(asked),
    ...(tops ? { logprobs: true, top_logprobs: tops } : {}),
  };
}

export function streamed(body: Record<string, unknown>): Record<string, unknown> {
  return { ...body, stream: true, stream_options: { include_usage: true } };
}

function sampling(asked: GenerateAsked): Record<string, unknown> {
  const { capture, probes = false, top_k, stop_at_end, deadline_s, ...rest } = asked;
  const { top_logprobs: _, max_tokens = 256, temperature = 0.7, ...others } = rest;
  for (const name of Object.keys(others)) {
    if (!["model", "top_p", "seed", "stop"].includes(name)) {
      throw new UsageError(
        `generate does not know ${name}; allowed: model, max_tokens, temperature, top_p, top_k, ` +
          "seed, stop, stop_at_end, top_logprobs, capture, probes, deadline_s.",
        { code: "unknown-name" },
      );
    }
  }
  const shown = { entropies: true, probes, capture, top_k, stop_at_end, deadline_s };
  return { max_tokens, temperature, ...others, glassbox: shown };
}

/** The texts of a completion, one to each prompt. */
export function readCompletion(
  answer: Completion,
  nPrompts: number,
  requestId: string | undefined,
): Generated[] {
  const choices = asMany("texts", answer.choices, nPrompts);
  return choices.map((each) => readText(each, answer, requestId));
}

/** The text of a completion of one prompt. */
export function readOne(answer: Completion, requestId: string | undefined): Generated {
  return readText(only("texts", answer.choices), answer, requestId);
}

function readText(
  choice: Schemas["CompletionChoice"],
  answer: Completion,
  requestId: string | undefined,
): Generated {
  const { text, glassbox, logprobs } = choice;
  return {
    ...whole(glassbox),
    text,
    model: answer.model,
    usage: answer.usage ?? undefined,
    tokens: logprobs?.tokens ?? [],
    top_logprobs: (logprobs?.top_logprobs ?? []).map((each) => each ?? {}),
    request_id: requestId,
  };
}

/** The answer to a conversation. */
export function readChat(answer: Chat, requestId: string | undefined): Generated {
  const choice = only("answers", answer.choices);
  const content = choice.logprobs?.content ?? [];
  return {
    ...whole(choice.glassbox),
    text: choice.message.content,
    model: answer.model,
    usage: answer.usage,
    tokens: content.map((each) => each.token),
    top_logprobs: content.map((each) =>
      Object.fromEntries(each.top_logprobs.map((top) => [top.token, top.logprob])),
    ),
    request_id: requestId,
  };
}

/** The pieces of a stream; throws where it ends before the text does. */
export async function* readStream(
  parts: AsyncIterable<Uint8Array>,
  requestId: string | undefined,
): AsyncGenerator<StreamedPiece, void, undefined> {
  let text = "";
  let last: { text: string; model: string; shown: Schemas["GlassboxChunk"] } | undefined;
  const found = messages(parts);
  for await (const { data } of found) {
    if (data === "[DONE]") break;
    const chunk = chunkOf(data);
    const choice = chunk.choices[0];
    if (choice == null) {
      // The tokens' count comes after the last piece, which has waited for it.
      if (last == null) continue;
      const { final, ...shown } = last.shown;
      const generated = {
        ...whole(final),
        text,
        model: last.model,
        usage: chunk.usage ?? undefined,
        tokens: [],
        top_logprobs: [],
        request_id: requestId,
      };
      yield { ...shown, text: last.text, whole: generated };
      await readOut(found);
      return;
    }
    const more = "text" in choice ? choice.text : (choice.delta.content ?? "");
    const shown: Shown = choice.glassbox;
    if (shown == null) {
      if (more !== "" || choice.finish_reason != null) throw unshown();
      continue;
    }
    text += more;
    const piece = shown as Schemas["GlassboxChunk"];
    if (piece.final != null) last = { text: more, model: chunk.model, shown: piece };
    else yield { ...piece, text: more };
  }
  throw brokenOff("it ended before the text did");
}

/** To the end: a connection that is closed before it cannot carry the next request. */
async function readOut(found: AsyncGenerator<unknown, void, undefined>): Promise<void> {
  try {
    while ((await found.next()).done !== true);
  } catch {
    // The text is whole: how its connection ended is of no interest any more.
  }
}

function chunkOf(data: string): Completion | ChatChunk {
  let chunk: Record<string, unknown> | undefined;
  try {
    chunk = objectIn(JSON.parse(data));
  } catch (error) {
    throw foreign(`an event of the stream is no JSON (${String(error)})`, error);
  }
  if (chunk == null) throw foreign("an event of the stream is no object");
  if ("error" in chunk) throw streamError(chunk.error);
  if (!Array.isArray(chunk.choices)) throw foreign("an event of the stream has no 'choices'");
  return chunk as unknown as Completion | ChatChunk;
}

/** What the model showed of itself; a server of another kind shows nothing. */
function whole(shown: Shown): Schemas["GlassboxAnswered"] {
  if (shown == null || !("finish_reason" in shown)) throw unshown();
  return shown;
}

function unshown() {
  return foreign("it has no 'glassbox' object");
}

function only<T>(what: string, found: readonly T[] | undefined): T {
  const [one] = asMany(what, found, 1);
  return one as T;
}

/** As many as were asked for, or an error. */
export function asMany<T>(what: string, found: readonly T[] | undefined, n: number): readonly T[] {
  if (found == null) throw foreign(`it has no ${what}`);
  if (found.length !== n) {
    throw foreign(`it has ${found.length} ${what}; ${n} were asked for`);
  }
  return found;
}

import type { components } from "../api/schema";
import { events } from "../api/events";
import { call } from "../api/http";
import { asProblem, Problem } from "../api/problem";
import { type Call, type Settings } from "./request";
import { type Readings, stepOf, type Token } from "./tokens";

type Schemas = components["schemas"];

/** An answer as far as it has come, with all that is known about it. */
export type Answer = {
  prompt: string;
  settings: Settings;
  state: "waiting" | "streaming" | "done" | "stopped" | "failed";
  text: string;
  tokens: Token[];
  /** Readings of each probe, the prompt's positions first. */
  readings: Readings;
  /** All that the server tells at the end. */
  final: Schemas["GlassboxAnswered"] | null;
  finish: string | null;
  usage: Schemas["Usage"] | null;
  problem: Problem | null;
};

export type News =
  | { kind: "begun"; prompt: string; settings: Settings }
  | { kind: "chunk"; chunk: Parameters<typeof stepOf>[0] }
  | { kind: "ended"; problem: Problem | null; stopped: boolean };

export function reduce(answer: Answer | null, news: News): Answer | null {
  if (news.kind === "begun") {
    return {
      prompt: news.prompt,
      settings: news.settings,
      state: "waiting",
      text: "",
      tokens: [],
      readings: {},
      final: null,
      finish: null,
      usage: null,
      problem: null,
    };
  }
  if (answer === null) return null;
  if (news.kind === "chunk") return grown(answer, news.chunk);
  const state = news.stopped ? "stopped" : news.problem === null ? "done" : "failed";
  return { ...answer, state, problem: news.problem };
}

function grown(answer: Answer, chunk: Parameters<typeof stepOf>[0]): Answer {
  const usage = chunk.usage ?? answer.usage;
  const step = stepOf(chunk);
  if (step === null) return { ...answer, usage };
  return {
    ...answer,
    usage,
    state: "streaming",
    text: answer.text + step.text,
    tokens: [...answer.tokens, ...step.tokens],
    readings: added(answer.readings, step.extension?.probe_logits ?? {}),
    final: step.extension?.final ?? answer.final,
    finish: step.finish ?? answer.finish,
  };
}

function added(readings: Readings, more: Readings): Readings {
  const names = Object.keys(more);
  if (names.length === 0) return readings;
  const grown = { ...readings };
  for (const name of names) grown[name] = [...(readings[name] ?? []), ...(more[name] ?? [])];
  return grown;
}

/** Ask, and tell each piece of news as it comes. */
export async function ask(
  request: Call,
  tell: (news: News) => void,
  signal: AbortSignal,
): Promise<void> {
  try {
    const response = await call(request.path, request.body, signal);
    if (response.body === null) throw new Problem("There is no answer", "The server sent nothing.");
    for await (const data of events(response.body)) {
      const chunk = JSON.parse(data) as Parameters<typeof stepOf>[0];
      if (chunk.error !== undefined) {
        throw new Problem(
          "The answer broke off",
          chunk.error.message ?? "The server gave no reason.",
          0,
          chunk.error.code ?? "",
        );
      }
      tell({ kind: "chunk", chunk });
    }
    tell({ kind: "ended", problem: null, stopped: signal.aborted });
  } catch (error) {
    tell({ kind: "ended", problem: asProblem(error), stopped: signal.aborted });
  }
}

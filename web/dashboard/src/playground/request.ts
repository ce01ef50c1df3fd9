import type { components } from "../api/schema";

type Schemas = components["schemas"];

export type ServedModel = Schemas["ServedModel"];

/** How the prompt is put to the model. */
export type Form = "text" | "chat";

/** The controls as they stand; numbers are kept as typed until they are sent. */
export type Settings = {
  model: string;
  form: Form;
  temperature: number;
  topP: number;
  maxTokens: string;
  seed: string;
  /** One stop string a line; `\n` stands for a line break. */
  stop: string;
};

export const defaults: Settings = {
  model: "",
  form: "text",
  temperature: 0.7,
  topP: 1,
  maxTokens: "64",
  seed: "",
  stop: "",
};

/** Alternatives asked for at each token. */
const ALTERNATIVES = 8;

const MOST_STOPS = 4;

/** What is wrong with the controls, by name; empty where nothing is. */
export function faults(settings: Settings): Partial<Record<keyof Settings, string>> {
  const found: Partial<Record<keyof Settings, string>> = {};
  if (!/^[1-9]\d{0,5}$/.test(settings.maxTokens.trim())) {
    found.maxTokens = "A whole number from 1 up.";
  }
  if (!/^(-?\d{1,15})?$/.test(settings.seed.trim())) {
    found.seed = "A whole number, or nothing.";
  }
  if (stopsOf(settings.stop).length > MOST_STOPS) {
    found.stop = `At most ${MOST_STOPS} lines.`;
  }
  return found;
}

export function stopsOf(lines: string): string[] {
  return lines
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.replaceAll("\\n", "\n").replaceAll("\\t", "\t"));
}

export type Call = { path: string; body: Record<string, unknown> };

/** The request that answers a prompt, as it goes over the wire. */
export function callOf(prompt: string, settings: Settings): Call {
  const stops = stopsOf(settings.stop);
  const shared = {
    model: settings.model,
    temperature: settings.temperature,
    top_p: settings.topP,
    max_tokens: Number(settings.maxTokens),
    ...(settings.seed.trim() === "" ? {} : { seed: Number(settings.seed) }),
    ...(stops.length === 0 ? {} : { stop: stops }),
    stream: true,
    stream_options: { include_usage: true },
    glassbox: { entropies: true, probes: true },
  };
  return settings.form === "chat"
    ? {
        path: "/v1/chat/completions",
        body: {
          ...shared,
          messages: [{ role: "user", content: prompt }],
          logprobs: true,
          top_logprobs: ALTERNATIVES,
        } satisfies Schemas["ChatAsked"],
      }
    : {
        path: "/v1/completions",
        body: { ...shared, prompt, logprobs: ALTERNATIVES } satisfies Schemas["CompletionAsked"],
      };
}

/** The same request for a terminal; the key is named, never shown. */
export function curlOf({ path, body }: Call, origin: string, withKey: boolean): string {
  return [
    `curl -N ${quoted(origin + path)}`,
    "  -H 'Content-Type: application/json'",
    ...(withKey ? ['  -H "Authorization: Bearer $GLASSBOX_API_KEY"'] : []),
    `  -d ${quoted(JSON.stringify(body))}`,
  ].join(" \\\n");
}

/** A word of a POSIX shell that stands for a text exactly. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

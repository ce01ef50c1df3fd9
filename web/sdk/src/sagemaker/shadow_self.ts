/** `ShadowSelfClient`: the source document's client of the Shadow Self on SageMaker. */
import type { SageMakerRuntimeClientConfig } from "@aws-sdk/client-sagemaker-runtime";

import { IntegrityError, UsageError } from "../errors.js";
import { Http, parsed, type CallOptions } from "../http.js";
import type { Retries } from "../patience.js";
import { brokenOff, foreign, objectIn, streamError } from "../problems.js";
import { estimateUncertainty, type Sounded } from "../uncertainty.js";
import { endpointOf, type Endpoint } from "./endpoint.js";
import {
  INFERENCE_HEADER,
  INVOCATIONS,
  sageMakerFetch,
  SESSION_HEADER,
  type SageMakerOptions,
} from "./fetch.js";
import { halves } from "./half.js";
import { lines } from "./lines.js";
import { statusOf, type Control, type EndpointStatus } from "./status.js";

/** One hidden state over the prompt. */
export type PooledState = {
  /** Mean vector over the prompt's tokens. */
  mean: number[];
  /** Vector of the prompt's last token. */
  lastToken: number[];
  /** Mean over the prompt's tokens of the L2 norm. */
  norm: number;
};

/** A text and what the model thought meanwhile. */
export type HiddenStateResult = {
  /** The text. */
  generatedText: string;
  /** By `layer_` and the index as it was asked for: `layer_-1`. */
  hiddenStates: Record<string, PooledState>;
  /** Mean over the tokens of the entropy of the distribution sampled from, nats. */
  logitsEntropy: number;
  /** Probability of each token under that distribution. */
  generationProbs: number[];
  /** As `logitsEntropy`, before temperature; a container of another make may not say it. */
  logitsEntropyRaw: number | undefined;
  /** Whether the prompt was too long and its end was cut off. */
  truncated: boolean | undefined;
  /** Digest of the adapter that answered; undefined is the base model. */
  adapterDigest: string | undefined;
  /** Digest of the bundle that the endpoint serves. */
  bundleDigest: string | undefined;
};

/** The next part of a text that is being written. */
export type HiddenStatePiece = {
  /** Text that was added. */
  text: string;
  /** Probability of each token that was added. */
  generationProbs: number[];
  /** With the last piece: all of it. */
  whole?: HiddenStateResult;
};

/** What is asked of the model; defaults are the source document's. */
export type InvokeOptions = {
  /** Indices of Hugging Face's `hidden_states`, negative from the end; [-1, -4, -8]. */
  targetLayers?: readonly number[] | undefined;
  /** Most tokens to write; 256. */
  maxNewTokens?: number | undefined;
  /** 0 is greedy; 0.7. */
  temperature?: number | undefined;
  /** Name or digest of the adapter that answers; without it the base model does. */
  adapter?: string | undefined;
  /** How vectors travel: `json`, or a tenth of that as `float16`, which rounds them. `json`. */
  encoding?: "json" | "float16" | undefined;
};

/** The client. */
export type ShadowSelfConfig = SageMakerOptions &
  InvokeOptions & {
    /** Seconds to wait for an answer, or between two parts of a stream; 60, as SageMaker does. */
    timeoutS?: number | undefined;
    /** How often a request is repeated while the endpoint is full. */
    retries?: Partial<Retries> | undefined;
    /** A SageMakerClient of AWS, for `getEndpointStatus`; by default one is made. */
    control?: Control | undefined;
    /** Told once when the endpoint is of another version; by default the console is. */
    onWarning?: ((message: string) => void) | undefined;
  };

/** One call. */
export type InvokeCallOptions = InvokeOptions &
  CallOptions & {
    /** Name of the request in SageMaker's logs and captured data. */
    inferenceId?: string | undefined;
    /** Keeps the requests of one session at one instance, where the endpoint can. */
    sessionId?: string | undefined;
  };

const TARGET_LAYERS = [-1, -4, -8];
const MAX_NEW_TOKENS = 256;
const TEMPERATURE = 0.7;
const TIMEOUT_S = 60;

/**
 * The Shadow Self behind an endpoint of SageMaker.
 *
 * Throws the errors of `GlassboxClient`; besides `UnknownName` where there is no such endpoint (any
 * more), and `AccessDenied` where AWS's credentials are missing or not enough.
 */
export class ShadowSelfClient {
  readonly #config: ShadowSelfConfig;
  readonly #endpoint: Endpoint;
  readonly #http: Http;

  constructor(config: ShadowSelfConfig) {
    this.#config = config;
    this.#endpoint = endpointOf(config);
    const { timeoutS = TIMEOUT_S, retries, onWarning } = config;
    this.#http = new Http({ fetch: sageMakerFetch(config), timeoutS, retries, onWarning });
  }

  /** The text that continues a prompt, its probabilities and the prompt's hidden states. */
  async invokeWithHiddenStates(
    text: string,
    options: InvokeCallOptions = {},
  ): Promise<HiddenStateResult> {
    const { sent, adapter } = this.#sent(text, options, "application/json");
    return this.#http.whole(sent, options, async (response) =>
      checked(
        resultOf(parsed(await response.text()), response.headers.get(BUNDLE_HEADER)),
        adapter,
      ),
    );
  }

  /** The same as it comes; the last piece has all of it as `whole`. */
  streamWithHiddenStates(
    text: string,
    options: InvokeCallOptions = {},
  ): AsyncGenerator<HiddenStatePiece, void, undefined> {
    const { sent, adapter } = this.#sent(text, options, "application/x-ndjson");
    return this.#http.pieces(sent, options, (parts, headers) =>
      readPieces(parts, headers.get(BUNDLE_HEADER), adapter),
    );
  }

  /** How unsure a text sounds, in [0, 1]; see `estimateUncertainty`. */
  estimateUncertainty(result: Sounded): number {
    return estimateUncertainty(result);
  }

  /** What SageMaker says of the endpoint now; needs the package `@aws-sdk/client-sagemaker`. */
  getEndpointStatus(options: { signal?: AbortSignal } = {}): Promise<EndpointStatus> {
    const { control, aws = {} } = this.#config;
    return statusOf(this.#endpoint, control, shared(aws), options.signal);
  }

  #sent(text: string, options: InvokeCallOptions, accept: string) {
    const pick = <K extends keyof InvokeOptions>(key: K) => options[key] ?? this.#config[key];
    const adapter = pick("adapter");
    const encoding = pick("encoding");
    const parameters = {
      target_layers: pick("targetLayers") ?? TARGET_LAYERS,
      max_new_tokens: pick("maxNewTokens") ?? MAX_NEW_TOKENS,
      temperature: pick("temperature") ?? TEMPERATURE,
      return_probs: true,
      // Left out where they are not asked for: a container of another make does not know them.
      ...(adapter === undefined ? {} : { adapter }),
      ...(encoding === undefined || encoding === "json" ? {} : { encoding }),
    };
    if (text === "") {
      throw new UsageError("The prompt is empty; allowed: a text of at least one character.");
    }
    const headers: Record<string, string> = { accept };
    if (options.sessionId !== undefined) headers[SESSION_HEADER] = options.sessionId;
    if (options.inferenceId !== undefined) headers[INFERENCE_HEADER] = options.inferenceId;
    const body = { inputs: text, parameters };
    return { adapter, sent: { method: "POST", path: INVOCATIONS, body, headers } };
  }
}

const BUNDLE_HEADER = "glassbox-bundle";

type Line = { text?: string; generation_probs?: number[] };

async function* readPieces(
  parts: AsyncIterable<Uint8Array>,
  bundle: string | null,
  adapter: string | undefined,
): AsyncGenerator<HiddenStatePiece, void, undefined> {
  for await (const line of lines(parts)) {
    const found = objectIn(parsed(line)) ?? {};
    if (found.error != null) throw streamError(found.error);
    if (found.final != null) {
      const whole = checked(resultOf(found.final, bundle), adapter);
      yield { text: "", generationProbs: [], whole };
      return;
    }
    const { text: more = "", generation_probs: probs = [] } = found as Line;
    yield { text: more, generationProbs: probs };
  }
  throw brokenOff("it ended before the text did");
}

/** What of AWS's options also fits its control plane: not the address of the runtime. */
function shared({ credentials, logger }: Omit<SageMakerRuntimeClientConfig, "region">) {
  return { ...(credentials && { credentials }), ...(logger && { logger }) };
}

/** An answer with the names of the source document's client. */
function resultOf(answer: unknown, bundle: string | null): HiddenStateResult {
  const found = objectIn(answer);
  const text = found?.generated_text;
  const entropy = found?.logits_entropy;
  const probs = found?.generation_probs;
  const states = objectIn(found?.hidden_states);
  if (typeof text !== "string" || typeof entropy !== "number" || !isNumbers(probs) || !states) {
    throw foreign("it has not the fields of an invocation");
  }
  const raw = found?.logits_entropy_raw;
  const truncated = found?.truncated;
  const digest = found?.adapter_digest;
  return {
    generatedText: text,
    hiddenStates: Object.fromEntries(
      Object.entries(states).map(([key, state]) => [key, pooled(key, objectIn(state))]),
    ),
    logitsEntropy: entropy,
    generationProbs: probs,
    logitsEntropyRaw: typeof raw === "number" ? raw : undefined,
    truncated: typeof truncated === "boolean" ? truncated : undefined,
    adapterDigest: typeof digest === "string" ? digest : undefined,
    bundleDigest: bundle ?? undefined,
  };
}

function pooled(key: string, state: Record<string, unknown> | undefined): PooledState {
  const mean = vector(state?.mean);
  const lastToken = vector(state?.last_token);
  const norm = state?.norm;
  if (mean == null || lastToken == null || typeof norm !== "number") {
    throw foreign(`${key} has not the fields of a hidden state`);
  }
  return { mean, lastToken, norm };
}

function vector(value: unknown): number[] | undefined {
  if (typeof value === "string") return halves(value);
  return isNumbers(value) ? value : undefined;
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((each) => typeof each === "number");
}

/** The result, if the adapter that was asked for gave it: nobody may take the base model's for it. */
function checked(result: HiddenStateResult, adapter: string | undefined): HiddenStateResult {
  if (adapter === undefined || result.adapterDigest !== undefined) return result;
  throw new IntegrityError(
    `The endpoint did not say that the adapter '${adapter}' answered: it may have been the base ` +
      "model. Is there a Glassbox container behind it, of the client's version?",
  );
}

/** One server over HTTP: sending, repeating, giving up. */
import { GlassboxError, UsageError } from "./errors.js";
import {
  checkedRetries,
  Patience,
  reasonOf,
  RETRIED,
  sleep,
  waitS,
  wasRefused,
  type Retries,
} from "./patience.js";
import { errorOf, foreign, neverSent, requestIdOf, tooLate, transportError } from "./problems.js";
import { isOnce } from "./routes.js";
import { VersionWatch } from "./version_skew.js";

/** Where `glassbox serve` listens unless told otherwise. */
export const DEFAULT_URL = "http://127.0.0.1:8787";

/** Seconds to wait for an answer, or between two parts of a stream. */
const TIMEOUT_S = 120;

/** Tells the server after how many seconds nobody waits for the answer any more. */
const DEADLINE_HEADER = "x-request-timeout";

/** How requests travel: `fetch`, or something that behaves like it. */
export type Fetch = {
  (url: string, init: RequestInit): Promise<Response>;
  /** Where they go, for messages, where that is not the address of a server. */
  place?: string;
};

/** Where a server is, and how to treat it. */
export type ClientOptions = {
  /** Its address; by default this machine's. */
  url?: string | undefined;
  /** API key, where the server wants one; by default the variable `GLASSBOX_API_KEY`. */
  key?: string | undefined;
  /** Seconds to wait for an answer, or between two parts of a stream; 120. The server is told. */
  timeoutS?: number | undefined;
  /** How often a request is repeated while the server is full or away. */
  retries?: Partial<Retries> | undefined;
  /** How requests travel; by default the environment's `fetch`. */
  fetch?: Fetch | undefined;
  /** Told once when the server is of another version; by default the console is. */
  onWarning?: ((message: string) => void) | undefined;
};

/** What one call may have of its own. */
export type CallOptions = {
  /** Gives the call up; it then throws the signal's reason. */
  signal?: AbortSignal | undefined;
  /** In place of the client's. */
  timeoutS?: number | undefined;
  /** In place of the client's; what is left out stays. */
  retries?: Partial<Retries> | undefined;
};

/** One request. */
export type Sent = {
  method: string;
  path: string;
  /** JSON to send. */
  body?: unknown;
  headers?: Record<string, string>;
  /** Whether the answer is read as it comes. */
  isStream?: boolean;
};

export class Http {
  readonly #url: string;
  readonly #place: string;
  readonly #headers: Record<string, string>;
  readonly #timeoutS: number;
  readonly #retries: Retries;
  readonly #fetch: Fetch;
  readonly #versions: VersionWatch;

  constructor(options: ClientOptions) {
    this.#url = addressOf(options.url ?? DEFAULT_URL);
    this.#place = options.fetch?.place ?? this.#url;
    if (options.key !== undefined && options.fetch?.place !== undefined) {
      throw new UsageError(
        `${this.#place} takes no API key: AWS credentials are its guard. Leave key out.`,
      );
    }
    this.#headers = headersOf(options.key ?? keyOfEnvironment());
    this.#timeoutS = checkedTimeout(options.timeoutS ?? TIMEOUT_S);
    this.#retries = checkedRetries(options.retries);
    this.#fetch = options.fetch ?? ((url, init) => fetch(url, init));
    this.#versions = new VersionWatch(options.onWarning);
  }

  /** The JSON of an answer. */
  async json<T>(sent: Sent, options?: CallOptions): Promise<T> {
    return this.whole(sent, options, async (response) => parsed(await response.text()) as T);
  }

  /** What is made of a whole answer. */
  async whole<T>(
    sent: Sent,
    options: CallOptions | undefined,
    read: (response: Response) => Promise<T>,
  ): Promise<T> {
    const { response, patience } = await this.#answered(sent, options);
    try {
      return await read(response);
    } catch (error) {
      throw this.#meant(error, patience, response.headers);
    } finally {
      patience.end();
    }
  }

  /** What is made of an answer as it comes; leaving early tells the server that nobody listens. */
  async *pieces<T>(
    sent: Sent,
    options: CallOptions | undefined,
    read: (
      parts: AsyncIterable<Uint8Array>,
      headers: Headers,
    ) => AsyncGenerator<T, void, undefined>,
  ): AsyncGenerator<T, void, undefined> {
    const { response, patience } = await this.#answered({ ...sent, isStream: true }, options);
    try {
      yield* read(partsOf(response, patience), response.headers);
    } catch (error) {
      throw this.#meant(error, patience, response.headers);
    } finally {
      patience.end();
    }
  }

  /** Whether a route answers with a success; asked once. */
  async is(path: string, options: CallOptions = {}): Promise<boolean> {
    const patience = new Patience(options.timeoutS ?? this.#timeoutS, options.signal);
    try {
      const init = { method: "GET", headers: this.#headers, signal: patience.signal };
      const response = await this.#fetch(this.#url + path, init);
      await response.body?.cancel();
      return response.ok;
    } catch {
      if (patience.isGivenUp) throw reasonOf(patience.signal);
      return false;
    } finally {
      patience.end();
    }
  }

  /** Send until there is a success; what a full server turned away is sent again. */
  async #answered(
    sent: Sent,
    options: CallOptions = {},
  ): Promise<{ response: Response; patience: Patience }> {
    const timeoutS = checkedTimeout(options.timeoutS ?? this.#timeoutS);
    const retries = checkedRetries(options.retries, this.#retries);
    const headers = { ...this.#headers, ...sent.headers };
    if (sent.body !== undefined) headers["content-type"] = "application/json";
    if (!sent.isStream && Number.isFinite(timeoutS)) headers[DEADLINE_HEADER] = String(timeoutS);
    const init = {
      method: sent.method,
      headers,
      ...(sent.body === undefined ? {} : { body: written(sent.body) }),
    };
    for (let done = 0; ; done++) {
      const patience = new Patience(timeoutS, options.signal);
      let error: GlassboxError;
      let again: boolean;
      try {
        const url = this.#url + sent.path;
        const response = await this.#fetch(url, { ...init, signal: patience.signal });
        this.#versions.look(response.headers);
        if (response.ok) return { response, patience };
        error = await errorOf(response);
        again =
          RETRIED.has(response.status) && (!isOnce(sent.method, sent.path) || wasRefused(error));
      } catch (thrown) {
        patience.end();
        error = this.#meant(thrown, patience);
        again = !patience.isLate && neverSent(thrown);
      }
      patience.end();
      const wait = again ? waitS(retries, error, done) : undefined;
      if (wait === undefined) throw error;
      await sleep(wait, options.signal);
    }
  }

  /** What it means that something was thrown; a call that its owner gave up throws the reason. */
  #meant(error: unknown, patience: Patience, headers?: Headers): GlassboxError {
    // No error of ours, but what the owner of the signal wants to see.
    if (patience.isGivenUp) throw reasonOf(patience.signal);
    const meant = patience.isLate
      ? tooLate(this.#place, error)
      : transportError(error, this.#place);
    meant.requestId ??= requestIdOf(headers);
    return meant;
  }
}

/** The bytes of an answer as they come; the clock runs only while the server is waited for. */
async function* partsOf(
  response: Response,
  patience: Patience,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = response.body?.getReader();
  try {
    while (reader != null) {
      patience.again();
      const { done, value } = await reader.read();
      if (done) return;
      patience.pause();
      yield value;
    }
  } finally {
    patience.pause();
    await reader?.cancel().catch(() => undefined);
  }
}

/** Parsed JSON of an answer. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw foreign(`it is no JSON (${String(error)})`, error);
  }
}

/** JSON of a body. It has no NaN, and would say null: the server's default, or a value that is missing. */
function written(body: unknown): string {
  return JSON.stringify(body, (name, value: unknown) => {
    const isNumber = typeof value === "number" || typeof value === "bigint";
    if (!isNumber || Number.isFinite(value)) return value;
    throw new UsageError(
      `${name} is ${value}${typeof value === "bigint" ? "n" : ""}; allowed: a finite number, no bigint.`,
      { code: "invalid-value" },
    );
  });
}

/** A server's address without a slash or `/v1` at its end; an error shows no password. */
function addressOf(url: string): string {
  const found = URL.canParse(url) ? new URL(url) : undefined;
  const isHttp = found?.protocol === "http:" || found?.protocol === "https:";
  const hasMore = found != null && /[?#]/.test(url);
  const hasUser = found != null && found.username + found.password !== "";
  if (!isHttp || hasMore || hasUser) {
    const shown = JSON.stringify(url.replace(/\/\/[^/]*@/, "//…@").replace(/[?#].*/s, "?…"));
    const advice = hasUser
      ? "without a user name and a password, which fetch refuses: give a server's API key as key"
      : "An endpoint of SageMaker is asked through sageMakerFetch of 'glassbox-llm/sagemaker'";
    throw new UsageError(
      `url is ${shown}; allowed: an address such as ${DEFAULT_URL}${hasUser ? ", " : ". "}${advice}.`,
      { code: "invalid-value" },
    );
  }
  // OpenAI's clients want it with /v1, and those who have it from there give it so.
  return url.replace(/\/+$/, "").replace(/\/v1$/, "");
}

/** What every request carries; an error does not show the key. */
function headersOf(key: string | undefined): Record<string, string> {
  if (key === undefined) return {};
  if (!/^[!-~]+$/.test(key)) {
    throw new UsageError(
      "The API key is empty or holds a space, a line break or a character that no key has. Give " +
        "it as 'glassbox keys create' printed it.",
    );
  }
  return { authorization: `Bearer ${key}` };
}

function checkedTimeout(seconds: number): number {
  if (seconds > 0) return seconds;
  throw new UsageError(`timeoutS is ${seconds}; allowed: seconds above 0, or Infinity.`, {
    code: "invalid-value",
  });
}

function keyOfEnvironment(): string | undefined {
  // Only Node and its kin have it; a browser has no environment.
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  const key = process?.env?.GLASSBOX_API_KEY?.trim() ?? "";
  // As in Python: a variable without a value is no key.
  return key === "" ? undefined : key;
}

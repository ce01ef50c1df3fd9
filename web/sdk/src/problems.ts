/**
 * From what a server or the way to it did wrong, to the error it is.
 *
 * Knows both shapes of errors: RFC 9457 problems and OpenAI's. Sends nothing.
 */
import {
  AccessDenied,
  CapacityError,
  CLASSES,
  DeadlineExceeded,
  GlassboxError,
  IntegrityError,
  QueueFull,
  Unreachable,
  UsageError,
  type ErrorClass,
  type FieldProblem,
} from "./errors.js";
import { refusedPort } from "./ports.js";
import { skewHint } from "./version_skew.js";

/** Header with our stable code, beside bodies of OpenAI's shape. */
const ERROR_HEADER = "x-glassbox-error";

/** Codes that OpenAI's clients look for, to ours: where the header did not get through. */
const OPENAI_CODES: Readonly<Record<string, string>> = {
  model_not_found: "unknown-name",
  context_length_exceeded: "text-too-long",
  invalid_api_key: "access-denied",
};

/** Header with the name of a request in the server's log. */
export const REQUEST_ID = "x-request-id";

/** Statuses that a field or a route gets which only one side knows. */
const NOT_UNDERSTOOD: ReadonlySet<number> = new Set([400, 404, 405, 415, 422]);

const MOST_SHOWN = 200;

/** The error that an unsuccessful response carries, by its class in our tree. */
export async function errorOf(response: Response): Promise<GlassboxError> {
  const text = await response.text().catch(() => "");
  const body = objectOf(text);
  const inner = objectIn(body?.error);
  const found = inner ?? body;
  const message =
    textOf(found?.detail) ??
    textOf(found?.message) ??
    `The server answered ${response.status}: ${text.slice(0, MOST_SHOWN) || response.statusText}`;
  const said = response.headers.get(ERROR_HEADER) ?? textOf(found?.code);
  const code = said == null ? undefined : (OPENAI_CODES[said] ?? said);
  const kind = (code != null ? CLASSES[code] : undefined) ?? classOfStatus(response.status);
  const hint = NOT_UNDERSTOOD.has(response.status) ? skewHint(response.headers) : "";
  return new kind(message + hint, {
    // A status that HTTP itself refuses has a code of its own, which is worth more than the class's.
    code,
    status: response.status,
    requestId: textOf(found?.request_id) ?? requestIdOf(response.headers),
    fields: fieldsOf(found, message),
    retryAfterS: retryAfterS(response.headers) ?? numberOf(found?.retry_after_s),
  });
}

/** Name of a request in the server's log. */
export function requestIdOf(headers: Headers | undefined): string | undefined {
  return headers?.get(REQUEST_ID) ?? undefined;
}

/** Seconds that a server asks to wait; undefined where it names none. Source: RFC 9110, 10.2.3. */
export function retryAfterS(headers: Headers, now = Date.now()): number | undefined {
  const said = headers.get("retry-after")?.trim();
  if (said == null || said === "") return undefined;
  const seconds = Number(said);
  if (Number.isFinite(seconds)) return Math.max(0, seconds);
  const date = Date.parse(said);
  return Number.isNaN(date) ? undefined : Math.max(0, (date - now) / 1000);
}

/** The error that ends a stream, from what the server said of it. */
export function streamError(said: unknown): GlassboxError {
  const error = objectIn(said);
  if (error == null) return new GlassboxError(textOf(said) ?? "The stream ended with an error.");
  const code = textOf(error.code);
  const kind = (code != null ? CLASSES[code] : undefined) ?? GlassboxError;
  return new kind(textOf(error.message) ?? "The stream ended with an error.", { code });
}

/** The error of an answer that did not come to its end. */
export function brokenOff(reason: string, cause?: unknown): Unreachable {
  return new Unreachable(
    `The answer broke off (${reason}): the server, or something before it, closed the ` +
      "connection. Ask again.",
    { cause },
  );
}

/** The error of an answer that a Glassbox server would not give. */
export function foreign(reason: string, cause?: unknown): IntegrityError {
  return new IntegrityError(
    `The answer cannot be read: ${reason}. Is there a Glassbox server at this address, of the ` +
      "client's version?",
    { cause },
  );
}

/** What it means that `fetch` or the reading of a body threw. */
export function transportError(error: unknown, url: string): GlassboxError {
  if (error instanceof GlassboxError) return error;
  const code = codeOf(error);
  if (code != null && TOO_LATE.has(code)) return tooLate(url, error);
  if (code != null && NOT_REACHED.has(code)) {
    return new Unreachable(
      `No server answers at ${url} (${code}). Start one with 'glassbox serve', or give its address.`,
      { cause: error },
    );
  }
  if (code != null && TLS.test(code)) {
    return new Unreachable(
      `No secure connection to ${url} (${code}). Does that address speak https, and does this machine ` +
        "trust its certificate?",
      { cause: error },
    );
  }
  const port = code == null ? refusedPort(url) : undefined;
  if (port !== undefined) {
    return new UsageError(
      `Nothing was sent to ${url}: fetch refuses port ${port}, in Node as in browsers. Start the ` +
        "server on another one, as with 'glassbox serve --port 8787', and give that address.",
      { code: "invalid-value", cause: error },
    );
  }
  const words = reasonOf(error);
  if (code != null || !NO_ANSWER.has(words)) return brokenOff(words, error);
  return new Unreachable(
    `No server answers at ${url} (${words}). In a page it may also be that the browser does not let ` +
      "this page ask there: from another origin it must be allowed to, by the server's setting " +
      "server.cors_origins.",
    { cause: error },
  );
}

/** What Node, Chromium, Firefox and Safari say where no answer came; browsers tell nobody why. */
const NO_ANSWER = new Set([
  "fetch failed",
  "Failed to fetch",
  "NetworkError when attempting to fetch resource.",
  "Load failed",
]);

/** The error of an answer that did not come in time. */
export function tooLate(url: string, cause?: unknown): DeadlineExceeded {
  return new DeadlineExceeded(
    `No answer from ${url} in time. Give the client a longer timeoutS, or ask for less.`,
    { cause },
  );
}

/** Whether there was no connection, so that nobody can have acted on it, and another try may help. */
export function neverSent(error: unknown): boolean {
  const code = codeOf(error);
  return code != null && NOT_REACHED.has(code) && code !== "ENOTFOUND";
}

/** Names of the system's and of Node's own HTTP client. */
const NOT_REACHED = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** Names that OpenSSL and Node give to certificates and handshakes that failed. */
const TLS = /^ERR_(SSL|TLS)_|CERT|^UNABLE_TO_|^EPROTO$/;

const TOO_LATE = new Set(["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT", "ETIMEDOUT"]);

/** The system's name of a failure: `fetch` hides it one or two causes deep. */
function codeOf(error: unknown): string | undefined {
  for (let each = error, deep = 0; each instanceof Error && deep < 4; each = each.cause, deep++) {
    if ("code" in each && typeof each.code === "string") return each.code;
    // Several addresses were tried: the first failure stands for all.
    if (each instanceof AggregateError) return codeOf(each.errors[0]);
  }
  return undefined;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? error.cause.message : "";
  return cause !== "" ? cause : error.message;
}

function classOfStatus(status: number): ErrorClass {
  if (status === 401 || status === 403) return AccessDenied;
  if (status === 429) return QueueFull;
  if (status === 408 || status === 504) return DeadlineExceeded;
  if (status === 502 || status === 503) return CapacityError;
  return status < 500 ? UsageError : GlassboxError;
}

function objectOf(text: string): Record<string, unknown> | undefined {
  try {
    return objectIn(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** A value as an object, if it is one. */
export function objectIn(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

/** The wrong fields, as a problem lists them; OpenAI's shape names the first one. */
function fieldsOf(
  found: Readonly<Record<string, unknown>> | undefined,
  message: string,
): FieldProblem[] {
  const param = textOf(found?.param);
  const named = param == null ? [] : [{ field: param, message }];
  const listed: unknown[] = Array.isArray(found?.errors) ? found.errors : named;
  return listed.filter((each): each is FieldProblem => {
    const field = objectIn(each);
    return typeof field?.field === "string" && typeof field.message === "string";
  });
}

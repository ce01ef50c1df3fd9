/** What went wrong with a call, in words for a person. */
export class Problem extends Error {
  /** A few words. */
  readonly title: string;
  /** HTTP status; 0 where there was no answer. */
  readonly status: number;
  /** Our stable code, as in the reference of errors. */
  readonly code: string;

  constructor(title: string, sentence: string, status = 0, code = "") {
    super(sentence);
    this.title = title;
    this.status = status;
    this.code = code;
  }

  /** Whether it is about who asks: the same call gets the same answer until the key changes. */
  get isRefusal(): boolean {
    return this.status === 401 || this.status === 403;
  }
}

const titles: Record<number, string> = {
  400: "The request cannot be used",
  401: "This key is not accepted",
  403: "This key does not allow it",
  404: "There is no such thing here",
  408: "The time has passed",
  409: "The present state is in the way",
  413: "The request is too large",
  422: "The request cannot be used",
  429: "The server is busy",
  500: "The server failed",
  503: "The server cannot answer now",
  504: "The time has passed",
};

export function unreachable(): Problem {
  return new Problem(
    "The server cannot be reached",
    "It may have been stopped, or the connection is gone. Start it with “glassbox serve” and try again.",
    0,
    "unreachable",
  );
}

/** The problem of a server that took a request and then said nothing. */
export function silent(seconds: number): Problem {
  return new Problem(
    "The server does not answer",
    `Nothing came for ${seconds} s. It may hang or be overloaded: its log says what it does.`,
    0,
    "deadline-exceeded",
  );
}

type Body = {
  detail?: unknown;
  title?: unknown;
  code?: unknown;
  error?: { message?: unknown; code?: unknown };
};

/** What a page says of a call without a key: the server's own words are for programs. */
export function keyless(code: string): Problem {
  return new Problem("A key is needed", "Enter one under “API key”, at the top.", 401, code);
}

/** Read an error answer: problem+json of our own routes, or OpenAI's shape. */
export async function problemOf(response: Response): Promise<Problem> {
  const body = await response
    .json()
    .then((value: unknown) => (typeof value === "object" && value !== null ? (value as Body) : {}))
    .catch((): Body => ({}));
  const words = [body.error?.message, body.detail, body.title].find(
    (each) => typeof each === "string" && each !== "",
  );
  const code = [body.error?.code, body.code].find((each) => typeof each === "string");
  const title =
    code === "not-ready"
      ? "The server is not ready"
      : (titles[response.status] ?? `The server answered ${response.status}`);
  return new Problem(
    title,
    sentence(typeof words === "string" ? words : "", response),
    response.status,
    typeof code === "string" ? code : "",
  );
}

function sentence(words: string, response: Response): string {
  const said = words === "" ? "It gave no reason." : words;
  const wait = Number(response.headers.get("Retry-After"));
  if (response.status === 429 && wait > 0 && !/again in/i.test(said)) {
    return `${said} Try again in about ${wait} s.`;
  }
  return said;
}

/** Whatever was thrown, as a problem; null for a call that was stopped on purpose. */
export function asProblem(error: unknown): Problem | null {
  if (error instanceof Problem) return error;
  if (error instanceof DOMException && error.name === "AbortError") return null;
  if (error instanceof TypeError) {
    return new Problem(
      "The connection broke",
      "The server stopped answering on the way. What had arrived is still shown.",
      0,
      "unreachable",
    );
  }
  return new Problem(
    "Something went wrong",
    error instanceof Error ? error.message : String(error),
  );
}

/** How long a call may take, how often it is repeated, and how it is given up. */
import { UsageError, type GlassboxError } from "./errors.js";

/** How often, and how long apart, a request is repeated while a server is full or away. */
export type Retries = {
  /** Most repetitions; 0 never repeats. By default 4. */
  n: number;
  /** Who asks for a longer wait, in seconds, gets no repetition: the error is thrown at once. 30. */
  longestWaitS: number;
};

const RETRIES: Retries = { n: 4, longestWaitS: 30 };

/** What is said of repetitions, and the rest as before; what is undefined is not said. */
export function checkedRetries(given: Partial<Retries> = {}, before = RETRIES): Retries {
  const { n = before.n, longestWaitS = before.longestWaitS } = given;
  if (n >= 0 && longestWaitS >= 0) return { n, longestWaitS };
  throw new UsageError(
    `retries is { n: ${n}, longestWaitS: ${longestWaitS} }; allowed: numbers of 0 or more.`,
    { code: "invalid-value" },
  );
}

/** Statuses that say: come back later. A proxy says 502 while the server behind it starts anew. */
export const RETRIED: ReadonlySet<number> = new Set([429, 502, 503]);

/**
 * Codes of a server that turned a request away at its door; others of those statuses may have come
 * behind the work, as from a replica that was lost or a database that did not answer any more.
 */
const NOT_BEGUN: ReadonlySet<string> = new Set([
  "not-ready",
  "queue-full",
  "too-many-connections",
  "too-many-requests",
]);

/** Whether the server has certainly not begun with what it answered so. */
export function wasRefused(error: GlassboxError): boolean {
  return error.status === 429 || NOT_BEGUN.has(error.code);
}

/** Wait before the first repetition where nobody names one, or 0; doubled each time. */
const FIRST_WAIT_S = 0.25;

/** Longest time that `setTimeout` counts, 24.8 days: one of a longer time rings at once. */
const MOST_MS = 2 ** 31 - 1;

/** Seconds until a request is sent again; undefined where there is no further try. */
export function waitS(retries: Retries, error: GlassboxError, done: number): number | undefined {
  // A server that says 0 names no wait: at once, and again at once, would be a storm.
  const asked = error.retryAfterS ?? 0;
  const wait = asked > 0 ? asked : FIRST_WAIT_S * 2 ** done;
  if (done >= retries.n || wait > retries.longestWaitS) return undefined;
  // Many clients turned away at once must not come back at once.
  return wait * (1 + Math.random() / 4);
}

/** Wait; an aborted signal ends it with the signal's reason. */
export function sleep(seconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(reasonOf(signal));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** What an aborted call throws: the reason that its owner gave. */
export function reasonOf(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new DOMException(String(reason), "AbortError");
}

/** The caller's signal and a clock in one signal; the clock can be stopped and started anew. */
export class Patience {
  readonly #controller = new AbortController();
  readonly #timeoutS: number;
  readonly #caller: AbortSignal | undefined;
  readonly #stop = () => this.#controller.abort(this.#caller?.reason);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isLate = false;

  constructor(timeoutS: number, caller?: AbortSignal) {
    this.#timeoutS = timeoutS;
    this.#caller = caller;
    if (caller?.aborted) this.#stop();
    else caller?.addEventListener("abort", this.#stop, { once: true });
    this.again();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Whether the clock ended it. */
  get isLate(): boolean {
    return this.#isLate;
  }

  /** Whether the caller ended it. */
  get isGivenUp(): boolean {
    return this.#caller?.aborted === true;
  }

  /** Start the clock anew. */
  again(): void {
    this.pause();
    const ms = this.#timeoutS * 1000;
    if (ms > MOST_MS) return;
    this.#timer = setTimeout(() => {
      this.#isLate = true;
      this.#controller.abort();
    }, ms);
  }

  /** Stop the clock: it is not the server that takes its time now. */
  pause(): void {
    clearTimeout(this.#timer);
  }

  /** Forget the clock and the caller's signal; idempotent. */
  end(): void {
    this.pause();
    this.#caller?.removeEventListener("abort", this.#stop);
  }
}

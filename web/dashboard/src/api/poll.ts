import { asProblem, Problem, silent } from "./problem";

/** Milliseconds between two looks: 30 s while the front end is developed, 60 s as it ships. */
export const POLL_MS = import.meta.env.DEV ? 30_000 : 60_000;

/** Least milliseconds between two looks that news asked for. */
const LEAST_GAP_MS = 1_500;

/** First wait after a failure; it doubles with each further one. */
const FIRST_RETRY_MS = 2_000;

/** Longest look: a server that hangs must not leave old numbers standing as if they were new. */
const LONGEST_LOOK_MS = 60_000;

export type Poller = {
  /** Look at once, whatever is under way. */
  now: () => void;
  /** Look soon: news came. Many in a row make few looks. */
  soon: () => void;
  stop: () => void;
};

/** Wait after the n-th failure in a row: 2, 4, 8 s and so on, never longer than a minute. */
function retryDelay(nFailures: number): number {
  return Math.min(60_000, FIRST_RETRY_MS * 2 ** Math.min(10, nFailures - 1));
}

/** Why a look failed; null where nobody waits for it any more. */
export function failureOf(error: unknown, signal: AbortSignal): Problem | null {
  if (!signal.aborted) return asProblem(error);
  return signal.reason instanceof Problem ? signal.reason : null;
}

/**
 * Load again and again: at once, then every so many milliseconds, sooner after a failure.
 *
 * A hidden tab does not ask; it catches up when it is seen again. A look that takes too long is a
 * failure. Who is refused does not ask again by itself.
 *
 * `every` of null loads once and then only when asked, failures aside. Without `persistent` a
 * failure is not tried again either, and may take as long as it likes: for what somebody asked for.
 */
export function poll(
  load: (signal: AbortSignal) => Promise<void>,
  every: number | null,
  persistent = true,
): Poller {
  let timer: number | undefined;
  let running: AbortController | null = null;
  let nFailures = 0;
  let lastStart = -Infinity;
  let isStopped = false;
  let isWanted = false;

  const isHidden = () => document.visibilityState === "hidden";
  const plan = (wait: number | null) => {
    window.clearTimeout(timer);
    if (isStopped || wait === null) return;
    if (isHidden()) isWanted = true;
    else timer = window.setTimeout(run, wait);
  };
  const gapLeft = () => Math.max(0, lastStart + LEAST_GAP_MS - Date.now());

  function run(): void {
    window.clearTimeout(timer);
    running?.abort();
    const mine = new AbortController();
    running = mine;
    lastStart = Date.now();
    isWanted = false;
    const tooLong = persistent
      ? window.setTimeout(() => mine.abort(silent(LONGEST_LOOK_MS / 1000)), LONGEST_LOOK_MS)
      : undefined;
    const ended = (wait: number | null) => {
      if (running !== mine) return;
      running = null;
      plan(isWanted ? gapLeft() : wait);
    };
    load(mine.signal)
      .finally(() => window.clearTimeout(tooLong))
      .then(
        () => {
          nFailures = 0;
          ended(every);
        },
        (error: unknown) => {
          if (failureOf(error, mine.signal) === null) return;
          nFailures += 1;
          if (error instanceof Problem && error.isRefusal) ended(null);
          else ended(persistent ? retryDelay(nFailures) : every);
        },
      );
  }

  function soon(): void {
    if (running !== null || isHidden()) isWanted = true;
    else plan(gapLeft());
  }

  function onVisibility(): void {
    if (isHidden()) {
      window.clearTimeout(timer);
      isWanted = isWanted || every !== null;
    } else if (isWanted && running === null) {
      plan(gapLeft());
    }
  }

  document.addEventListener("visibilitychange", onVisibility);
  run();
  return {
    now: () => {
      if (!isStopped) run();
    },
    soon,
    stop: () => {
      isStopped = true;
      window.clearTimeout(timer);
      running?.abort();
      document.removeEventListener("visibilitychange", onVisibility);
    },
  };
}

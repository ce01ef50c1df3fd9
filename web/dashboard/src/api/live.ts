import { messages } from "./events";
import { call, MODELS } from "./http";
import { apiKey } from "./key";
import { Problem } from "./problem";

/** What the server tells of by itself. */
export type Topic = "summary" | "inference" | "rollout" | "drift" | "alert";

/**
 * `off`: no page wants news, or the key allows none. `live`: it arrives as it happens. `polling`: it
 * is asked for instead.
 */
export type LiveState = "off" | "connecting" | "live" | "polling";

/** The server says something every 15 s; nothing for so long means that the line is dead. */
const SILENCE_MS = 40_000;

/** A hidden tab keeps the line for so long. */
const HIDDEN_MS = 30_000;

const LONGEST_WAIT_MS = 30_000;

export type Live = {
  state: () => LiveState;
  /** Be told when the state changes. */
  subscribe: (listener: () => void) => () => void;
  /** Be told of news about some topics; the line is open while anyone listens. */
  listen: (topics: readonly Topic[], heard: () => void) => () => void;
};

type Connect = (signal: AbortSignal) => Promise<Response>;

/**
 * One line to the server for all of a tab's pages.
 *
 * Only that something happened is passed on, and the listeners ask for it: what they show is then
 * always one whole answer of the server, never pieced together.
 */
export function createLive(connect: Connect): Live {
  const watchers = new Set<() => void>();
  const listeners = new Set<{ topics: readonly Topic[]; heard: () => void }>();
  let state: LiveState = "off";
  let line: AbortController | null = null;
  let nFailures = 0;
  let retry: number | undefined;
  let silence: number | undefined;
  let leaving: number | undefined;

  const become = (next: LiveState) => {
    if (state === next) return;
    state = next;
    for (const watcher of watchers) watcher();
  };
  const tell = (event: string) => {
    for (const { topics, heard } of listeners) {
      if (topics.some((topic) => topic === event)) heard();
    }
  };
  /** Have everybody look: whether the server is there, or what was told while no line was. */
  const tellAll = () => {
    for (const { heard } of listeners) heard();
  };
  const close = () => {
    window.clearTimeout(retry);
    window.clearTimeout(silence);
    window.clearTimeout(leaving);
    line?.abort();
    line = null;
    if (listeners.size === 0) become("off");
  };
  const watchSilence = () => {
    window.clearTimeout(silence);
    silence = window.setTimeout(() => line?.abort(), SILENCE_MS);
  };

  async function read(mine: AbortController): Promise<void> {
    // A proxy may take the request and never begin to answer.
    watchSilence();
    const response = await connect(mine.signal);
    if (response.body === null) throw new Problem("No stream", "The answer has no body.");
    become("live");
    if (nFailures > 0) tellAll();
    nFailures = 0;
    watchSilence();
    for await (const { event } of messages(response.body)) {
      if (line !== mine) return;
      watchSilence();
      tell(event);
    }
  }

  function open(): void {
    close();
    if (listeners.size === 0 || document.visibilityState === "hidden") return;
    const mine = new AbortController();
    line = mine;
    if (state !== "polling") become("connecting");
    const ended = (error?: unknown) => {
      // A newer line has taken over, or nobody listens.
      if (line !== mine) return;
      line = null;
      window.clearTimeout(silence);
      if (state === "live") tellAll();
      if (error instanceof Problem && error.isRefusal) {
        become("off");
        return;
      }
      become("polling");
      nFailures += 1;
      const wait = Math.min(LONGEST_WAIT_MS, 1000 * 2 ** Math.min(nFailures - 1, 5));
      retry = window.setTimeout(open, wait * (0.75 + Math.random() / 2));
    };
    read(mine).then(() => ended(), ended);
  }

  document.addEventListener("visibilitychange", () => {
    window.clearTimeout(leaving);
    if (document.visibilityState === "hidden") leaving = window.setTimeout(close, HIDDEN_MS);
    else if (line === null) open();
  });
  apiKey.subscribe(() => {
    if (!apiKey.isWanted()) open();
  });

  return {
    state: () => state,
    subscribe: (watcher) => {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    listen: (topics, heard) => {
      const listener = { topics, heard };
      listeners.add(listener);
      window.clearTimeout(leaving);
      if (line === null) open();
      return () => {
        listeners.delete(listener);
        // The next page listens a moment after this one has left.
        if (listeners.size === 0) leaving = window.setTimeout(close, 1000);
      };
    },
  };
}

export const live = createLive((signal) => call(`${MODELS}/events`, undefined, signal));

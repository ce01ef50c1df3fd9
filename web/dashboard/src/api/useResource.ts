import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";

import { callJson } from "./http";
import { apiKey } from "./key";
import { live, type Topic } from "./live";
import { failureOf, poll, POLL_MS, type Poller } from "./poll";
import type { Problem } from "./problem";

export type Resource<Data> = {
  /** The latest answer; kept while a newer one cannot be had. */
  data: Data | null;
  /** Why the latest attempt failed. */
  problem: Problem | null;
  /** Whether the first answer is still awaited. */
  loading: boolean;
  /** When the latest attempt succeeded. */
  updatedAt: Date | null;
  refresh: () => void;
};

type Options = {
  /** News that makes it ask again. */
  on?: readonly Topic[];
  /** Milliseconds between two looks; null for what never changes. */
  every?: number | null;
  /** Whether a failure is tried again by itself; otherwise only when asked. */
  persistent?: boolean;
};

type Held<Data> = {
  of: unknown;
  data: Data | null;
  problem: Problem | null;
  updatedAt: Date | null;
};

const NONE: readonly Topic[] = [];

/** What a route answers, kept up to date; null for `path` asks nothing. */
export function useResource<Data>(path: string | null, options: Options = {}): Resource<Data> {
  const load = useCallback(
    (signal: AbortSignal) => callJson<Data>(path ?? "", undefined, signal),
    [path],
  );
  return useLoaded(path, load, options);
}

/**
 * What a function loads, kept up to date: for what takes several calls, or one that sends something.
 *
 * Answers belong to `of`: those of another value are not shown; null loads nothing. `load` must
 * stay the same function from one rendering to the next while it loads the same.
 */
export function useLoaded<Data>(
  of: unknown,
  load: (signal: AbortSignal) => Promise<Data>,
  { on = NONE, every = POLL_MS, persistent = true }: Options = {},
): Resource<Data> {
  const key = useSyncExternalStore(apiKey.subscribe, apiKey.get);
  const [held, setHeld] = useState<Held<Data> | null>(null);
  const poller = useRef<Poller | null>(null);
  const topics = on.join(" ");

  useEffect(() => {
    if (of === null) return;
    const look = async (signal: AbortSignal) => {
      try {
        const data = await load(signal);
        if (!signal.aborted) setHeld({ of, data, problem: null, updatedAt: new Date() });
      } catch (error) {
        const problem = failureOf(error, signal);
        if (problem !== null) {
          setHeld((before) => {
            const known = before?.of === of ? before : null;
            return { of, data: known?.data ?? null, problem, updatedAt: known?.updatedAt ?? null };
          });
        }
        throw error;
      }
    };
    const mine = poll(look, every, persistent);
    poller.current = mine;
    const wanted = topics.split(" ").filter((topic) => topic !== "") as Topic[];
    const leave = wanted.length === 0 ? undefined : live.listen(wanted, mine.soon);
    return () => {
      leave?.();
      mine.stop();
    };
  }, [of, load, every, persistent, topics, key]);

  const refresh = useCallback(() => poller.current?.now(), []);
  const current = held?.of === of ? held : null;
  return {
    data: current?.data ?? null,
    problem: current?.problem ?? null,
    loading: of !== null && current === null,
    updatedAt: current?.updatedAt ?? null,
    refresh,
  };
}

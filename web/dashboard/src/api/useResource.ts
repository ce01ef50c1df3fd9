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
  refresh: () => void;
};

type Options = {
  /** News that makes it ask again. */
  on?: readonly Topic[];
  /** Milliseconds between two looks; null for what never changes. */
  every?: number | null;
};

type Held<Data> = { path: string; data: Data | null; problem: Problem | null };

const NONE: readonly Topic[] = [];

/** What a route answers, kept up to date; null for `path` asks nothing. */
export function useResource<Data>(
  path: string | null,
  { on = NONE, every = POLL_MS }: Options = {},
): Resource<Data> {
  const key = useSyncExternalStore(apiKey.subscribe, apiKey.get);
  const [held, setHeld] = useState<Held<Data> | null>(null);
  const poller = useRef<Poller | null>(null);
  const topics = on.join(" ");

  useEffect(() => {
    if (path === null) return;
    const mine = poll(async (signal) => {
      try {
        const data = await callJson<Data>(path, undefined, signal);
        setHeld({ path, data, problem: null });
      } catch (error) {
        const problem = failureOf(error, signal);
        if (problem !== null) {
          setHeld((before) => ({
            path,
            data: before?.path === path ? before.data : null,
            problem,
          }));
        }
        throw error;
      }
    }, every);
    poller.current = mine;
    const wanted = topics.split(" ").filter((topic) => topic !== "") as Topic[];
    const leave = wanted.length === 0 ? undefined : live.listen(wanted, mine.soon);
    return () => {
      leave?.();
      mine.stop();
    };
  }, [path, every, topics, key]);

  const refresh = useCallback(() => poller.current?.now(), []);
  const current = held?.path === path ? held : null;
  return {
    data: current?.data ?? null,
    problem: current?.problem ?? null,
    loading: path !== null && current === null,
    refresh,
  };
}

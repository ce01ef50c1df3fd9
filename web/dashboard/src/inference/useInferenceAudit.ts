import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";

import { callJson, modelsPath } from "../api/http";
import { apiKey } from "../api/key";
import { live } from "../api/live";
import { failureOf, poll, POLL_MS, type Poller } from "../api/poll";
import type { Problem } from "../api/problem";
import type { AuditEntry, Registry, Summary } from "../api/wire";

export type InferenceAuditOptions = {
  /** Milliseconds between two looks. */
  pollingInterval?: number;
  /** Latest predictions to keep. */
  maxRecentEntries?: number;
  /** Registered model whose predictions are meant; the server's default one where none is said. */
  model?: string;
  /** Whether it goes on looking; otherwise it looks once and waits for `togglePolling`. */
  autoStart?: boolean;
};

export type InferenceAudit = {
  summary: Summary | null;
  /** Newest first. */
  recentEntries: readonly AuditEntry[];
  registryInfo: Registry | null;
  /** Whether the first answer is still awaited. */
  loading: boolean;
  /** Why the latest attempt failed; it is tried again by itself while polling. */
  error: Problem | null;
  /** When the latest attempt succeeded. */
  updatedAt: Date | null;
  refresh: () => void;
  togglePolling: () => void;
  isPolling: boolean;
};

type Held = Pick<
  InferenceAudit,
  "summary" | "recentEntries" | "registryInfo" | "error" | "updatedAt"
>;

const nothing: Held & { of: string | undefined } = {
  of: undefined,
  summary: null,
  recentEntries: [],
  registryInfo: null,
  error: null,
  updatedAt: null,
};

/**
 * The audit of predictions as it stands: the summary, the latest ones, and who answers.
 *
 * Looks again when the server tells of news, and at every interval in case it does not. A failure
 * keeps what is there; a hidden tab does not ask.
 */
export function useInferenceAudit({
  pollingInterval = POLL_MS,
  maxRecentEntries = 25,
  model,
  autoStart = true,
}: InferenceAuditOptions = {}): InferenceAudit {
  const key = useSyncExternalStore(apiKey.subscribe, apiKey.get);
  const [answers, setAnswers] = useState(nothing);
  const [isPolling, setPolling] = useState(autoStart);
  const poller = useRef<Poller | null>(null);

  useEffect(() => {
    const load = async (signal: AbortSignal) => {
      try {
        const [summary, recentEntries, registryInfo] = await Promise.all([
          callJson<Summary>(modelsPath("/audit/summary", { model }), undefined, signal),
          callJson<AuditEntry[]>(
            modelsPath("/audit/recent", { limit: maxRecentEntries, model }),
            undefined,
            signal,
          ),
          callJson<Registry>(modelsPath("/registry", { model }), undefined, signal),
        ]);
        setAnswers({
          of: model,
          summary,
          recentEntries,
          registryInfo,
          error: null,
          updatedAt: new Date(),
        });
      } catch (error) {
        const problem = failureOf(error, signal);
        if (problem !== null) {
          setAnswers((before) => ({
            ...(before.of === model ? before : nothing),
            of: model,
            error: problem,
          }));
        }
        throw error;
      }
    };
    const mine = poll(load, isPolling ? pollingInterval : null);
    poller.current = mine;
    const leave = isPolling ? live.listen(["summary", "inference"], mine.soon) : undefined;
    return () => {
      leave?.();
      mine.stop();
    };
  }, [pollingInterval, maxRecentEntries, model, isPolling, key]);

  const refresh = useCallback(() => poller.current?.now(), []);
  const togglePolling = useCallback(() => setPolling((before) => !before), []);
  const { of, ...known } = answers;
  const held: Held = of === model ? known : nothing;
  return {
    ...held,
    loading: held.summary === null && held.error === null,
    refresh,
    togglePolling,
    isPolling,
  };
}

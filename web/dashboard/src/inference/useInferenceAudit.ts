import { useCallback, useState } from "react";

import { callJson, modelsPath } from "../api/http";
import { POLL_MS } from "../api/poll";
import type { Problem } from "../api/problem";
import { useLoaded } from "../api/useResource";
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

type Looked = { summary: Summary; recentEntries: AuditEntry[]; registryInfo: Registry };

const NO_ENTRIES: readonly AuditEntry[] = [];

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
  const [isPolling, setPolling] = useState(autoStart);
  const load = useCallback(
    async (signal: AbortSignal): Promise<Looked> => {
      const recent = modelsPath("/audit/recent", { limit: maxRecentEntries, model });
      const [summary, recentEntries, registryInfo] = await Promise.all([
        callJson<Summary>(modelsPath("/audit/summary", { model }), undefined, signal),
        callJson<AuditEntry[]>(recent, undefined, signal),
        callJson<Registry>(modelsPath("/registry", { model }), undefined, signal),
      ]);
      return { summary, recentEntries, registryInfo };
    },
    [maxRecentEntries, model],
  );
  const { data, problem, loading, updatedAt, refresh } = useLoaded(model ?? "", load, {
    on: isPolling ? ["summary", "inference"] : [],
    every: isPolling ? pollingInterval : null,
  });

  const togglePolling = useCallback(() => setPolling((before) => !before), []);
  return {
    summary: data?.summary ?? null,
    recentEntries: data?.recentEntries ?? NO_ENTRIES,
    registryInfo: data?.registryInfo ?? null,
    loading,
    error: problem,
    updatedAt,
    refresh,
    togglePolling,
    isPolling,
  };
}

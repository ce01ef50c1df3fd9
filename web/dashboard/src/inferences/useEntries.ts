import { useCallback, useEffect, useRef, useState } from "react";

import { callJson } from "../api/http";
import { asProblem, type Problem } from "../api/problem";
import { type Resource, useResource } from "../api/useResource";
import type { AuditEntry } from "../api/wire";
import { type Filters, PAGE_SIZE, recentPath } from "./filters";

type Older = {
  of: string;
  entries: readonly AuditEntry[];
  isAll: boolean;
  problem: Problem | null;
};

const NONE: readonly AuditEntry[] = [];

export type Entries = {
  newest: Resource<AuditEntry[]>;
  /** Newest first, as far back as was asked for. */
  entries: readonly AuditEntry[];
  /** Whether there is nothing older. */
  isAll: boolean;
  problem: Problem | null;
  more: () => void;
};

/**
 * Entries page by page, the newest page kept up to date while the older ones stay.
 *
 * Pages are cut by sequence, so that what comes meanwhile neither doubles nor hides an entry. The list
 * stays as long as it was asked to be: newer ones push the oldest out, to be asked for again.
 */
export function useEntries(filters: Filters, isFollowing: boolean): Entries {
  const path = recentPath(filters);
  const newest = useResource<AuditEntry[]>(path, {
    on: isFollowing ? ["inference"] : [],
    ...(isFollowing ? {} : { every: null }),
  });
  const [older, setOlder] = useState<Older | null>(null);
  const asking = useRef<AbortController | null>(null);
  const [seen, setSeen] = useState(newest.data);
  const held = older?.of === path ? older : null;
  const mine = held === null ? null : extended(held, newest.data ?? []);
  if (newest.data !== seen) {
    setSeen(newest.data);
    setOlder(mine);
  }
  const entries = mine?.entries ?? newest.data ?? NONE;
  const isNone = entries.length === 0;
  const before = lowest(entries);
  const isAll = mine?.isAll ?? (newest.data !== null && newest.data.length < PAGE_SIZE);

  useEffect(() => () => asking.current?.abort(), [path]);

  const more = useCallback(() => {
    const isAsking = asking.current !== null && !asking.current.signal.aborted;
    if (isAll || isNone || isAsking) return;
    const stopper = new AbortController();
    asking.current = stopper;
    const keep = (page: AuditEntry[], problem: Problem | null) => {
      if (asking.current === stopper) asking.current = null;
      if (stopper.signal.aborted) return;
      setOlder({
        of: path,
        entries: merged(entries, page),
        isAll: problem === null && page.length < PAGE_SIZE,
        problem,
      });
    };
    callJson<AuditEntry[]>(recentPath(filters, before), undefined, stopper.signal).then(
      (page) => keep(page, null),
      (error: unknown) => keep([], asProblem(error)),
    );
  }, [before, entries, filters, isAll, isNone, path]);

  return { newest, entries, isAll, problem: mine?.problem ?? null, more };
}

/** Where the log was cut: behind its end, as far as numbers are exact, where none is in it yet. */
function lowest(entries: readonly AuditEntry[]): number {
  // A page is in order of time, and what is on its way to the log stands among the others.
  const places = entries.map(({ sequence }) => sequence ?? 0).filter((place) => place > 0);
  return Math.min(...places, Number.MAX_SAFE_INTEGER);
}

/**
 * What is held and a newer first page, as one run. Null where more came between two looks than a page
 * has: a list with a hole in it would hide entries.
 */
function extended(held: Older, newest: readonly AuditEntry[]): Older | null {
  const length = held.entries.length;
  const entries = merged(newest, held.entries);
  if (newest.length === PAGE_SIZE && entries.length === newest.length + length) return null;
  const isCut = entries.length > length;
  return {
    ...held,
    entries: isCut ? entries.slice(0, length) : entries,
    isAll: held.isAll && !isCut,
  };
}

/** Two runs of entries as one, newest first; of an entry that is in both, the first run's counts. */
export function merged(
  first: readonly AuditEntry[],
  second: readonly AuditEntry[],
): readonly AuditEntry[] {
  const known = new Set(first.map(({ request_id }) => request_id));
  const rest = second.filter(({ request_id }) => !known.has(request_id));
  return rest.length === 0 ? first : [...first, ...rest];
}

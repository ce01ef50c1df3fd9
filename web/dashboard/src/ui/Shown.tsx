import type { ReactNode } from "react";

import type { Resource } from "../api/useResource";
import { Failed } from "./Outage";

type Props<Data> = {
  resource: Resource<Data>;
  /** What is awaited, as in "the rollout". */
  what: string;
  children: (data: Data) => ReactNode;
};

/**
 * What came, or why it did not. Old data stays below the problem, because it is better than none.
 */
export function Shown<Data>({ resource, what, children }: Props<Data>) {
  const { data, problem, loading, refresh } = resource;
  return (
    <>
      {problem !== null && <Failed problem={problem} onRetry={refresh} isOld={data !== null} />}
      {loading && <Waiting what={what} />}
      {data !== null && children(data)}
    </>
  );
}

/** Grey lines in place of what is awaited. */
export function Waiting({ what, lines = 4 }: { what: string; lines?: number }) {
  return (
    <div role="status" className="grid gap-2 py-2">
      <span className="sr-only">Waiting for {what}</span>
      {Array.from({ length: lines }, (_, at) => (
        <div
          key={at}
          aria-hidden="true"
          className={`waiting h-5 rounded bg-line ${at === lines - 1 ? "w-2/3" : ""}`}
        />
      ))}
    </div>
  );
}

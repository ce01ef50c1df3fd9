import {
  createContext,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useId,
  useState,
} from "react";

import type { Problem } from "../api/problem";
import { Button } from "./Button";
import { Notice } from "./Notice";

/** A call that failed: why, how to make it again, and whether its last answer is still shown. */
type Failure = { problem: Problem; onRetry: () => void; isOld: boolean };

type Tell = (id: string, failure: Failure | null) => void;

const Outages = createContext<Tell | null>(null);

/** Answers that are about who asks or about the whole server, whichever route was asked. */
const WHOLE: ReadonlySet<number> = new Set([0, 401, 403, 429, 503]);

/** Says once, above a page, what keeps its parts from an answer: each of them would say the same. */
export function Outage({ children }: { children: ReactNode }) {
  const [failures, setFailures] = useState<ReadonlyMap<string, Failure>>(new Map());
  const tell = useCallback<Tell>(
    (id, failure) =>
      setFailures((before) => {
        const next = new Map(before);
        if (failure === null) next.delete(id);
        else next.set(id, failure);
        return next;
      }),
    [],
  );
  const all = [...failures.values()];
  const said = new Map(all.map(({ problem }) => [`${problem.title} ${problem.message}`, problem]));
  return (
    <Outages value={tell}>
      {said.size > 0 && (
        <div className="mb-4 grid gap-2">
          {[...said].map(([words, problem]) => (
            <Notice key={words} problem={problem} />
          ))}
          <Again
            isOld={all.some(({ isOld }) => isOld)}
            isFinal={all.every(({ problem }) => problem.isRefusal)}
            onRetry={() => all.forEach(({ onRetry }) => onRetry())}
          />
        </div>
      )}
      {children}
    </Outages>
  );
}

/** Why a part of a page has no (new) answer; what is the matter with the server is said above it. */
export function Failed({ problem, onRetry, isOld }: Failure) {
  const tell = useContext(Outages);
  const id = useId();
  const told = WHOLE.has(problem.status) ? tell : null;
  useEffect(() => {
    told?.(id, { problem, onRetry, isOld });
  }, [told, id, problem, onRetry, isOld]);
  useEffect(() => () => told?.(id, null), [told, id]);
  if (told !== null) return isOld ? null : <p className="text-sm text-muted">Not known.</p>;
  return (
    <div className="mb-4 grid gap-2">
      <Notice problem={problem} />
      <Again isOld={isOld} isFinal={problem.isRefusal} onRetry={onRetry} />
    </div>
  );
}

type AgainProps = Pick<Failure, "isOld" | "onRetry"> & {
  /** Whether nothing is asked for again before somebody does something. */
  isFinal: boolean;
};

function Again({ isOld, isFinal, onRetry }: AgainProps) {
  const said = [
    isOld ? "What you see below is the last answer." : "",
    isFinal ? "" : "It is asked for again by itself.",
  ];
  return (
    <p className="flex flex-wrap items-center gap-3 text-sm text-muted">
      <Button onClick={onRetry}>Try again</Button>
      {said.filter((each) => each !== "").join(" ")}
    </p>
  );
}

import type { Problem } from "../api/problem";

/** An error, said in full at once to those who listen, too. */
export function Notice({ problem }: { problem: Problem }) {
  return (
    <div
      role="alert"
      className="rounded-md border border-danger bg-danger-soft px-3 py-2 text-sm text-ink"
    >
      <p className="font-semibold text-danger">{problem.title}</p>
      <p className="break-words">{problem.message}</p>
      {problem.code !== "" && <p className="mt-1 font-mono text-xs text-muted">{problem.code}</p>}
    </div>
  );
}

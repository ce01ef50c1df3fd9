import type { Problem } from "../api/problem";

const looks = {
  bad: { box: "border-danger bg-danger-soft", title: "text-danger" },
  passing: { box: "border-warning bg-warning-soft", title: "text-warning" },
};

/** An error, said in full at once to those who listen, too. A server that starts is none yet. */
export function Notice({ problem }: { problem: Problem }) {
  const { box, title } = looks[problem.code === "not-ready" ? "passing" : "bad"];
  return (
    <div role="alert" className={`rounded-md border px-3 py-2 text-sm text-ink ${box}`}>
      <p className={`font-semibold ${title}`}>{problem.title}</p>
      <p>{problem.message}</p>
      {problem.code !== "" && <p className="mt-1 font-mono text-xs text-muted">{problem.code}</p>}
    </div>
  );
}

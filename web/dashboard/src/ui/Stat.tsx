import type { ReactNode } from "react";

type Tone = "plain" | "good" | "warn" | "bad";

const colours: Record<Tone, string> = {
  plain: "text-ink",
  good: "text-good",
  warn: "text-warning",
  bad: "text-danger",
};

type Props = { name: string; value: ReactNode; hint?: ReactNode; tone?: Tone };

/** One number with its name, inside a `Stats`. */
export function Stat({ name, value, hint, tone = "plain" }: Props) {
  return (
    <div className="min-w-0 rounded-md bg-sunken px-3 py-2">
      <dt className="text-xs text-muted">{name}</dt>
      <dd className={`truncate text-lg font-semibold tabular-nums ${colours[tone]}`}>{value}</dd>
      {hint !== undefined && <dd className="text-xs text-muted tabular-nums">{hint}</dd>}
    </div>
  );
}

/** Numbers beside one another; `wide` for long names. */
export function Stats({ wide = false, children }: { wide?: boolean; children: ReactNode }) {
  const columns = wide
    ? "grid-cols-[repeat(auto-fill,minmax(12.5rem,1fr))]"
    : "grid-cols-[repeat(auto-fill,minmax(8.25rem,1fr))]";
  return <dl className={`grid gap-2 ${columns}`}>{children}</dl>;
}

/** Names and values below one another. */
export function Facts({ facts }: { facts: readonly (readonly [string, ReactNode])[] }) {
  return (
    <dl className="grid grid-cols-[fit-content(45%)_minmax(0,1fr)] gap-x-4 gap-y-1 text-sm">
      {facts.map(([name, value]) => (
        <div key={name} className="contents">
          <dt className="text-muted">{name}</dt>
          <dd className="min-w-0 tabular-nums">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

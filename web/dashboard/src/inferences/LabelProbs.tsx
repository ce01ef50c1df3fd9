import { Key } from "../charts/Key";
import { digits } from "../ui/format";

type Probs = Readonly<Record<string, number>>;

/** Probability of each class, as answered and as the challenger saw it. */
export function LabelProbs({ answer, challenger }: { answer: Probs; challenger: Probs | null }) {
  const labels = [...new Set([...Object.keys(answer), ...Object.keys(challenger ?? {})])];
  return (
    <section aria-label="Probability of each class" className="grid grid-cols-1 gap-2">
      <h3 className="text-sm font-semibold">Probability of each class</h3>
      <ul className="grid grid-cols-1 gap-2">
        {labels.map((label) => (
          <li key={label} className="text-sm">
            <p className="flex justify-between gap-3">
              <bdi>{label}</bdi>
              <span className="shrink-0 font-mono text-xs leading-5">
                {digits(answer[label] ?? 0)}
                {challenger !== null && (
                  <span className="text-muted">
                    {" "}
                    / {digits(challenger[label] ?? 0)}
                    <span className="sr-only"> at the challenger</span>
                  </span>
                )}
              </span>
            </p>
            <Bar share={answer[label] ?? 0} look="fill-one" />
            {challenger !== null && <Bar share={challenger[label] ?? 0} look="fill-two" />}
          </li>
        ))}
      </ul>
      {challenger !== null && (
        <Key
          entries={[
            { tone: "one", name: "answered", shape: "box" },
            { tone: "two", name: "challenger", shape: "box" },
          ]}
        />
      )}
    </section>
  );
}

function Bar({ share, look }: { share: number; look: string }) {
  return (
    <svg
      viewBox="0 0 100 6"
      preserveAspectRatio="none"
      aria-hidden="true"
      className="mt-0.5 h-1.5 w-full"
    >
      <rect width="100" height="6" className="fill-sunken" />
      <rect width={100 * share} height="6" className={look} />
    </svg>
  );
}

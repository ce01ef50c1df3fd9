import { strokes, type Tone } from "./marks";

const grounds: Record<Tone, string> = {
  one: "bg-one",
  two: "bg-two",
  three: "bg-three",
  plain: "bg-field-line",
  good: "bg-good",
  bad: "bg-danger",
  warn: "bg-warning",
};

type Entry = { tone: Tone; name: string; shape?: "line" | "band" | "box"; dashes?: string };

const shapes = { band: "h-3 w-5 opacity-30", box: "size-3 rounded-xs" };

/** What a chart's colours stand for. */
export function Key({ entries }: { entries: readonly Entry[] }) {
  return (
    <ul className="flex flex-wrap gap-x-4 gap-y-1 text-xs text-muted">
      {entries.map(({ tone, name, shape = "line", dashes = "" }) => (
        <li key={name} className="flex items-center gap-1.5">
          {shape === "line" ? (
            <svg viewBox="0 0 20 4" aria-hidden="true" className="h-1 w-5">
              <line
                x2={20}
                y1={2}
                y2={2}
                strokeWidth={2}
                className={strokes[tone]}
                {...(dashes === "" ? {} : { strokeDasharray: dashes })}
              />
            </svg>
          ) : (
            <span
              aria-hidden="true"
              className={`drawn inline-block ${grounds[tone]} ${shapes[shape]}`}
            />
          )}
          {name}
        </li>
      ))}
    </ul>
  );
}

import type { Scale } from "./scales";

/** The steps of a colour scale with the values they stand for. */
export function Legend({ scale }: { scale: Scale }) {
  return (
    <div className="flex flex-wrap items-center gap-x-3 gap-y-1 text-xs text-muted">
      <span>{scale.title}</span>
      <ol className="flex flex-wrap" aria-label={`Colours: ${scale.title}`}>
        {scale.labels.map((label, level) => (
          <li
            key={label}
            {...{ [`data-${scale.ramp}`]: level }}
            className="border-y border-r border-line px-1.5 py-0.5 font-mono first:rounded-l first:border-l last:rounded-r"
          >
            {label}
          </li>
        ))}
      </ol>
    </div>
  );
}

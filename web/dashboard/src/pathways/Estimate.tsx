import { NOTHING } from "../ui/format";

type Props = {
  value: number | null | undefined;
  low: number | null | undefined;
  high: number | null | undefined;
  /** Where the drawing ends on either side of 0. */
  reach: number;
};

const WIDE = 88;

/** A value with its interval, drawn around 0. */
export function Estimate({ value, low, high, reach }: Props) {
  if (value == null) return <span>{NOTHING}</span>;
  const x = (at: number) => WIDE / 2 + (Math.max(-reach, Math.min(reach, at)) / reach) * (WIDE / 2);
  const isClear = low != null && high != null && low * high > 0;
  return (
    <span className="flex items-center gap-2">
      <svg viewBox={`0 0 ${WIDE} 12`} aria-hidden="true" className="h-3 w-18 shrink-0">
        <line x1={WIDE / 2} x2={WIDE / 2} y1={0} y2={12} className="stroke-field-line" />
        {low != null && high != null && (
          <line
            x1={x(low)}
            x2={x(high)}
            y1={6}
            y2={6}
            strokeWidth={2}
            className={isClear ? "stroke-one" : "stroke-field-line"}
          />
        )}
        <circle cx={x(value)} cy={6} r={3} className={isClear ? "fill-one" : "fill-field-line"} />
      </svg>
      <span className="font-mono text-xs">
        {value.toFixed(2)}
        {low != null && high != null && (
          <span className="text-muted">
            {" "}
            ({low.toFixed(2)} to {high.toFixed(2)})
          </span>
        )}
      </span>
    </span>
  );
}

import type { Frame } from "./Plot";

/** What a colour stands for, the same on every page; the style sheet knows the colours. */
export type Tone = "one" | "two" | "three" | "plain" | "good" | "bad" | "warn";

export type Point = { x: number; y: number | null };

export const strokes: Record<Tone, string> = {
  one: "stroke-one",
  two: "stroke-two",
  three: "stroke-three",
  plain: "stroke-field-line",
  good: "stroke-good",
  bad: "stroke-danger",
  warn: "stroke-warning",
};

export const fills: Record<Tone, string> = {
  one: "fill-one",
  two: "fill-two",
  three: "fill-three",
  plain: "fill-field-line",
  good: "fill-good",
  bad: "fill-danger",
  warn: "fill-warning",
};

/** Runs of points that are known, so that a gap stays a gap. */
function runs<Known extends { x: number }>(
  points: readonly Known[],
  isKnown: (point: Known) => boolean,
): Known[][] {
  const found: Known[][] = [[]];
  for (const point of points) {
    if (isKnown(point)) found.at(-1)?.push(point);
    else found.push([]);
  }
  return found.filter((run) => run.length > 0);
}

function path(points: readonly { x: number; y: number }[], frame: Frame): string {
  return points
    .map(
      ({ x, y }, at) => `${at === 0 ? "M" : "L"}${frame.x(x).toFixed(1)} ${frame.y(y).toFixed(1)}`,
    )
    .join("");
}

/** What leaves the frame is cut off there, as a band is. */
type LineProps = { frame: Frame; points: readonly Point[]; tone?: Tone; dashes?: string };

export function Line({ frame, points, tone = "one", dashes }: LineProps) {
  const known = runs(points, ({ y }) => y !== null) as { x: number; y: number }[][];
  return known.map((run, at) =>
    run.length === 1 && run[0] !== undefined ? (
      <circle
        key={at}
        cx={frame.x(run[0].x)}
        cy={frame.y(run[0].y)}
        r={2.5}
        className={fills[tone]}
      />
    ) : (
      <path
        key={at}
        d={path(run, frame)}
        clipPath={`url(#${frame.clip})`}
        className={`fill-none ${strokes[tone]}`}
        strokeWidth={2}
        strokeLinejoin="round"
        {...(dashes === undefined ? {} : { strokeDasharray: dashes })}
      />
    ),
  );
}

type Span = { x: number; low: number | null; high: number | null };

/** What lies between two curves, kept inside the frame; a single span is as wide as a dot. */
export function Band({
  frame,
  points,
  tone = "one",
}: {
  frame: Frame;
  points: readonly Span[];
  tone?: Tone;
}) {
  const [least, most] = frame.y.domain;
  const inside = (value: number) => Math.min(most, Math.max(least, value));
  return runs(points, ({ low, high }) => low !== null && high !== null).map((run, at) => {
    const [only] = run;
    if (run.length === 1 && only !== undefined) {
      const top = frame.y(inside(only.high ?? 0));
      return (
        <rect
          key={at}
          x={frame.x(only.x) - 3}
          y={top}
          width={6}
          height={frame.y(inside(only.low ?? 0)) - top}
          className={`${fills[tone]} opacity-30`}
        />
      );
    }
    const upper = run.map(({ x, high }) => ({ x, y: inside(high ?? 0) }));
    const lower = run.map(({ x, low }) => ({ x, y: inside(low ?? 0) })).reverse();
    return (
      <path
        key={at}
        d={`${path([...upper, ...lower], frame)}Z`}
        className={`${fills[tone]} opacity-18`}
      />
    );
  });
}

type RuleProps = { frame: Frame; at: number; text?: string; tone?: Tone };

/** A level line over the whole width, as of a limit. Outside the frame it is not drawn. */
export function Rule({ frame, at, text, tone = "bad" }: RuleProps) {
  const [least, most] = frame.y.domain;
  if (at < least || at > most) return null;
  const y = frame.y(at);
  return (
    <>
      <line
        x1={frame.left}
        x2={frame.right}
        y1={y}
        y2={y}
        className={strokes[tone]}
        strokeWidth={1.5}
        strokeDasharray="6 4"
      />
      {text !== undefined && (
        <text
          x={frame.right - 2}
          y={y - frame.top > 14 ? y - 4 : y + 12}
          textAnchor="end"
          strokeWidth={3}
          className={`${fills[tone]} stroke-surface text-[11px] font-medium [paint-order:stroke]`}
        >
          {text}
        </text>
      )}
    </>
  );
}

/** An upright line, as at a chosen threshold. */
export function Mark({ frame, at, text, tone = "plain" }: RuleProps) {
  const [least, most] = frame.x.domain;
  if (at < least || at > most) return null;
  const x = frame.x(at);
  const isRight = x > (frame.left + frame.right) / 2;
  return (
    <>
      <line
        x1={x}
        x2={x}
        y1={frame.top}
        y2={frame.bottom}
        className={strokes[tone]}
        strokeWidth={1.5}
        strokeDasharray="4 3"
      />
      {text !== undefined && (
        <text
          x={isRight ? x - 5 : x + 5}
          y={frame.top + 11}
          textAnchor={isRight ? "end" : "start"}
          strokeWidth={3}
          className="fill-ink stroke-surface text-[11px] [paint-order:stroke]"
        >
          {text}
        </text>
      )}
    </>
  );
}

type Bar = { from: number; to: number; height: number };

/** Upright bars; `outline` draws their tops only, to lay over others. */
export function Bars({
  frame,
  bars,
  tone = "one",
  outline = false,
}: {
  frame: Frame;
  bars: readonly Bar[];
  tone?: Tone;
  outline?: boolean;
}) {
  if (outline) {
    const steps = bars
      .map(({ from, to, height }, at) => {
        const y = frame.y(height).toFixed(1);
        const start = at === 0 ? `M${frame.x(from).toFixed(1)} ${frame.bottom}` : "";
        return `${start}L${frame.x(from).toFixed(1)} ${y}L${frame.x(to).toFixed(1)} ${y}`;
      })
      .join("");
    const last = bars.at(-1);
    const end = last === undefined ? "" : `L${frame.x(last.to).toFixed(1)} ${frame.bottom}`;
    return <path d={steps + end} className={`fill-none ${strokes[tone]}`} strokeWidth={2} />;
  }
  return bars.map(({ from, to, height }) => {
    const left = frame.x(from);
    const top = frame.y(height);
    return (
      <rect
        key={from}
        x={left + 0.75}
        y={top}
        width={Math.max(0.5, frame.x(to) - left - 1.5)}
        height={Math.max(0, frame.bottom - top)}
        className={fills[tone]}
      />
    );
  });
}

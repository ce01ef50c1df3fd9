import { type PointerEvent, type ReactNode, useId, useState } from "react";

import { tick } from "../ui/format";
import { linear, type Scale, ticks } from "./scale";
import { useWidth } from "./useWidth";

/** Where marks are drawn: scales from values to pixels, and the inner rectangle. */
export type Frame = {
  x: Scale;
  y: Scale;
  left: number;
  right: number;
  top: number;
  bottom: number;
  /** Id of the rectangle that lines are cut at. */
  clip: string;
};

/** What an axis shows, and how. */
export type Axis = {
  domain: readonly [number, number];
  name?: string;
  /** How a value on it reads. */
  text?: (value: number) => string;
  /** Where it has marks; round values where it does not say. */
  ticks?: readonly number[];
  /** Whether it counts something: then it has whole numbers only. */
  counts?: boolean;
};

type Props = {
  /** The picture in a sentence, for those who cannot see it. */
  summary: string;
  x: Axis;
  y: Axis;
  /** Pixels; `square` is as high as wide, for diagrams whose axes share a unit. */
  height: number | "square";
  /** Named values at a place of the x axis, shown under the pointer. */
  readout?: (x: number) => string | null;
  children: (frame: Frame) => ReactNode;
};

const LEFT = 52;
const BOTTOM = 40;
const TOP = 10;
const RIGHT = 14;

/** Pixels by which a line on the edge may reach over it. */
const EDGE = 2;

/** Pixels of a digit, roughly. */
const DIGIT = 6.5;

/** Widest square picture: a larger one says nothing more. */
const MOST_WIDTH = 460;

/** Where a text stands whose middle is at a place, unless it would leave the picture there. */
function standing(x: number, text: string, width: number) {
  const half = (text.length * DIGIT) / 2;
  if (x + half > width) return { x: width, textAnchor: "end" } as const;
  return x < half
    ? ({ x: 0, textAnchor: "start" } as const)
    : ({ x, textAnchor: "middle" } as const);
}

/** Axes, grid and names; the marks come from the caller. As wide as its place. */
export function Plot({ summary, x, y, height: wanted, readout, children }: Props) {
  const [box, space] = useWidth<HTMLDivElement>();
  const [at, setAt] = useState<number | null>(null);
  const isSquare = wanted === "square";
  const width = isSquare ? Math.min(space, MOST_WIDTH) : space;
  const height = isSquare ? width - LEFT - RIGHT + TOP + BOTTOM : wanted;
  const frame: Frame = {
    x: linear(x.domain, [LEFT, width - RIGHT]),
    y: linear(y.domain, [height - BOTTOM, TOP]),
    left: LEFT,
    right: width - RIGHT,
    top: TOP,
    bottom: height - BOTTOM,
    clip: useId(),
  };
  const said = at === null || readout === undefined ? null : readout(at);

  const follow = (event: PointerEvent<SVGSVGElement>) => {
    const pixel = event.clientX - event.currentTarget.getBoundingClientRect().left;
    const isInside = pixel >= frame.left && pixel <= frame.right;
    setAt(isInside ? frame.x.invert(pixel) : null);
  };

  return (
    <div ref={box} className="w-full min-w-0">
      <svg
        width={width}
        height={height}
        role="img"
        aria-label={summary}
        className="block max-w-full text-muted"
        {...(readout === undefined
          ? {}
          : { onPointerMove: follow, onPointerLeave: () => setAt(null) })}
      >
        <clipPath id={frame.clip}>
          <rect
            x={frame.left - EDGE}
            y={frame.top - EDGE}
            width={Math.max(0, frame.right - frame.left) + 2 * EDGE}
            height={Math.max(0, frame.bottom - frame.top) + 2 * EDGE}
          />
        </clipPath>
        <Across axis={y} frame={frame} n={Math.max(2, Math.floor(height / 48))} />
        <Along axis={x} frame={frame} n={Math.max(2, Math.floor(width / 90))} width={width} />
        {children(frame)}
        {at !== null && said !== null && (
          <line
            x1={frame.x(at)}
            x2={frame.x(at)}
            y1={frame.top}
            y2={frame.bottom}
            className="pointer-events-none stroke-field-line"
            strokeDasharray="2 3"
          />
        )}
      </svg>
      {readout !== undefined && (
        <p aria-hidden="true" className="-mt-0.5 min-h-4 truncate pl-13 text-xs text-muted">
          {said ?? ""}
        </p>
      )}
    </div>
  );
}

type AxisProps = {
  axis: Axis;
  frame: Frame;
  /** About how many marks it has room for. */
  n: number;
};

function ticksOf({ ticks: given, counts = false }: Axis, scale: Scale, n: number) {
  return given ?? ticks(scale.domain, n, counts ? 1 : 0);
}

/** The y axis: a line across the picture at each of its values, and its name. */
function Across({ axis, frame, n }: AxisProps) {
  const { name, text = tick } = axis;
  return (
    <>
      {ticksOf(axis, frame.y, n).map((at) => (
        <g key={at}>
          <line
            x1={frame.left}
            x2={frame.right}
            y1={frame.y(at)}
            y2={frame.y(at)}
            className="stroke-line"
          />
          <text
            x={frame.left - 7}
            y={frame.y(at)}
            dy="0.32em"
            textAnchor="end"
            className="fill-current text-[11px]"
          >
            {text(at)}
          </text>
        </g>
      ))}
      {name !== undefined && (
        <text
          transform={`translate(11 ${(frame.top + frame.bottom) / 2}) rotate(-90)`}
          textAnchor="middle"
          className="fill-current text-[11px]"
        >
          {name}
        </text>
      )}
    </>
  );
}

/** The x axis: its line, a mark at each of its values, and its name. */
function Along({ axis, frame, n, width }: AxisProps & { width: number }) {
  const { name, text = tick } = axis;
  return (
    <>
      {ticksOf(axis, frame.x, n).map((at) => (
        <g key={at}>
          <line
            x1={frame.x(at)}
            x2={frame.x(at)}
            y1={frame.bottom}
            y2={frame.bottom + 4}
            className="stroke-field-line"
          />
          <text
            {...standing(frame.x(at), text(at), width)}
            y={frame.bottom + 16}
            className="fill-current text-[11px]"
          >
            {text(at)}
          </text>
        </g>
      ))}
      <line
        x1={frame.left}
        x2={frame.right}
        y1={frame.bottom}
        y2={frame.bottom}
        className="stroke-field-line"
      />
      {name !== undefined && (
        <text
          x={(frame.left + frame.right) / 2}
          y={frame.bottom + BOTTOM - 5}
          textAnchor="middle"
          className="fill-current text-[11px]"
        >
          {name}
        </text>
      )}
    </>
  );
}

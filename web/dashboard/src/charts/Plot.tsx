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

type Domain = readonly [number, number];

type Props = {
  /** The picture in a sentence, for those who cannot see it. */
  summary: string;
  x: Domain;
  y: Domain;
  xName?: string;
  yName?: string;
  xText?: (value: number) => string;
  yText?: (value: number) => string;
  xTicks?: readonly number[];
  yTicks?: readonly number[];
  /** Whether an axis counts something: then it has whole numbers only. */
  xCounts?: boolean;
  yCounts?: boolean;
  height?: number;
  /** As high as wide, for diagrams whose axes share a unit. */
  square?: boolean;
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

/** Where a text stands whose middle is at a place, unless it would leave the picture there. */
function standing(x: number, text: string, width: number) {
  const half = (text.length * DIGIT) / 2;
  if (x + half > width) return { x: width, textAnchor: "end" } as const;
  return x < half
    ? ({ x: 0, textAnchor: "start" } as const)
    : ({ x, textAnchor: "middle" } as const);
}

/** Axes, grid and names; the marks come from the caller. As wide as its place. */
export function Plot(props: Props) {
  const { summary, xName, yName, xText = tick, yText = tick, readout } = props;
  const [box, space] = useWidth<HTMLDivElement>();
  const [at, setAt] = useState<number | null>(null);
  const width = props.square === true ? Math.min(space, 460) : space;
  const height =
    props.square === true ? width - LEFT - RIGHT + TOP + BOTTOM : (props.height ?? 220);
  const frame: Frame = {
    x: linear(props.x, [LEFT, width - RIGHT]),
    y: linear(props.y, [height - BOTTOM, TOP]),
    left: LEFT,
    right: width - RIGHT,
    top: TOP,
    bottom: height - BOTTOM,
    clip: useId(),
  };
  const [nX, nY] = [Math.max(2, Math.floor(width / 90)), Math.max(2, Math.floor(height / 48))];
  const xTicks = props.xTicks ?? ticks(frame.x.domain, nX, props.xCounts === true ? 1 : 0);
  const yTicks = props.yTicks ?? ticks(frame.y.domain, nY, props.yCounts === true ? 1 : 0);
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
        {yTicks.map((at) => (
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
              {yText(at)}
            </text>
          </g>
        ))}
        {xTicks.map((at) => (
          <g key={at}>
            <line
              x1={frame.x(at)}
              x2={frame.x(at)}
              y1={frame.bottom}
              y2={frame.bottom + 4}
              className="stroke-field-line"
            />
            <text
              {...standing(frame.x(at), xText(at), width)}
              y={frame.bottom + 16}
              className="fill-current text-[11px]"
            >
              {xText(at)}
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
        {props.children(frame)}
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
        {xName !== undefined && (
          <text
            x={(frame.left + frame.right) / 2}
            y={height - 5}
            textAnchor="middle"
            className="fill-current text-[11px]"
          >
            {xName}
          </text>
        )}
        {yName !== undefined && (
          <text
            transform={`translate(11 ${(frame.top + frame.bottom) / 2}) rotate(-90)`}
            textAnchor="middle"
            className="fill-current text-[11px]"
          >
            {yName}
          </text>
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

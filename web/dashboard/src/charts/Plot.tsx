import { type PointerEvent, type ReactNode, useState } from "react";

import { short } from "../ui/format";
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

/** Pixels of a digit, roughly. */
const DIGIT = 6.5;

/** Whether a text in the middle of a place would leave the picture at the right. */
function isCramped(x: number, text: string, width: number): boolean {
  return x + (text.length * DIGIT) / 2 > width;
}

/** Axes, grid and names; the marks come from the caller. As wide as its place. */
export function Plot(props: Props) {
  const { summary, xName, yName, xText = short, yText = short, readout } = props;
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
  };
  const xTicks = props.xTicks ?? ticks(frame.x.domain, Math.max(2, Math.floor(width / 90)));
  const yTicks = props.yTicks ?? ticks(frame.y.domain, Math.max(2, Math.floor(height / 48)));
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
        {yTicks.map((tick) => (
          <g key={tick}>
            <line
              x1={frame.left}
              x2={frame.right}
              y1={frame.y(tick)}
              y2={frame.y(tick)}
              className="stroke-line"
            />
            <text
              x={frame.left - 7}
              y={frame.y(tick)}
              dy="0.32em"
              textAnchor="end"
              className="fill-current text-[11px]"
            >
              {yText(tick)}
            </text>
          </g>
        ))}
        {xTicks.map((tick) => (
          <g key={tick}>
            <line
              x1={frame.x(tick)}
              x2={frame.x(tick)}
              y1={frame.bottom}
              y2={frame.bottom + 4}
              className="stroke-field-line"
            />
            <text
              x={frame.x(tick) + (isCramped(frame.x(tick), xText(tick), width) ? RIGHT : 0)}
              y={frame.bottom + 16}
              textAnchor={isCramped(frame.x(tick), xText(tick), width) ? "end" : "middle"}
              className="fill-current text-[11px]"
            >
              {xText(tick)}
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

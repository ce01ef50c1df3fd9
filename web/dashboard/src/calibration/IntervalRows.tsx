import { Key } from "../charts/Key";
import { fills, strokes } from "../charts/marks";
import { extent, linear, ticks } from "../charts/scale";
import { useWidth } from "../charts/useWidth";
import { digits, percent, short } from "../ui/format";
import type { BarsValue } from "./chart";
import { toneOf } from "./tones";

/** Room for the names at the left, where there is room. */
const NAME = 225;

/** Room for the estimates at the right. */
const NUMBER = 48;

/** Below this width a name stands above its row. */
const NARROW = 480;

/** Estimates with their intervals, one a row; a band marks what perfection would show. */
export function IntervalRows({ value }: { value: BarsValue }) {
  const [box, width] = useWidth<HTMLDivElement>();
  const isNarrow = width < NARROW;
  const row = isNarrow ? 40 : 26;
  const left = isNarrow ? 8 : NAME;
  const hasLevels = value.bars.some((each) => each.null !== null);
  const reach = value.bars.flatMap(({ interval, null: level }) => [
    interval.low,
    interval.high,
    level?.quantile_95,
  ]);
  // A band is as long as the error that it stands for, so it begins at none.
  const air = hasLevels ? { air: 0.08, from: 0 } : { air: 0.08 };
  const domain = extent([...reach, value.reference], air);
  const x = linear(domain, [left, width - NUMBER]);
  const bottom = value.bars.length * row + 4;
  const said = value.bars
    .map(({ group, series, interval }) => `${series}, ${group}: ${digits(interval.estimate)}`)
    .join("; ");
  return (
    <div ref={box} className="w-full max-w-3xl min-w-0">
      <svg
        width={width}
        height={bottom + 22}
        role="img"
        aria-label={said}
        className="block max-w-full"
      >
        {ticks(domain, isNarrow ? 3 : 5).map((tick) => (
          <g key={tick}>
            <line x1={x(tick)} x2={x(tick)} y1={0} y2={bottom} className="stroke-line" />
            <text
              x={x(tick)}
              y={bottom + 14}
              textAnchor="middle"
              className="fill-muted text-[11px]"
            >
              {short(tick)}
            </text>
          </g>
        ))}
        {value.reference !== null && (
          <line
            x1={x(value.reference)}
            x2={x(value.reference)}
            y1={0}
            y2={bottom}
            strokeWidth={2}
            strokeDasharray="4 3"
            className={strokes.plain}
          />
        )}
        {value.bars.map(({ group, series, role, interval, null: level }, at) => {
          const y = at * row + (isNarrow ? 28 : row / 2);
          const tone = toneOf(role);
          return (
            <g key={`${group} ${series}`}>
              <text
                x={isNarrow ? 0 : left - 8}
                y={isNarrow ? y - 17 : y}
                dy="0.32em"
                textAnchor={isNarrow ? "start" : "end"}
                strokeWidth={4}
                className="fill-ink stroke-surface text-[11px] [paint-order:stroke]"
              >
                {`${series} · ${group}`.slice(0, 36)}
              </text>
              {level !== null && (
                <rect
                  x={x(0)}
                  width={Math.max(0, x(level.quantile_95) - x(0))}
                  y={y - 8}
                  height={16}
                  className={`${fills.plain} opacity-30`}
                />
              )}
              <line
                x1={x(interval.low)}
                x2={x(interval.high)}
                y1={y}
                y2={y}
                strokeWidth={2}
                className={strokes[tone]}
              />
              <circle cx={x(interval.estimate)} cy={y} r={4.5} className={fills[tone]} />
              <text
                x={width - 4}
                y={y}
                dy="0.32em"
                textAnchor="end"
                className="fill-ink text-[11px] tabular-nums"
              >
                {digits(interval.estimate)}
              </text>
            </g>
          );
        })}
      </svg>
      <Key entries={keyOf(value, hasLevels)} />
    </div>
  );
}

function keyOf({ bars, reference, reference_name }: BarsValue, hasLevels: boolean) {
  const series = [...new Map(bars.map((each) => [each.series, toneOf(each.role)]))];
  const level = percent(bars[0]?.interval.level, 0);
  return [
    ...series.map(([name, tone]) => ({ tone, name: `${name}, ${level} interval` })),
    ...(hasLevels
      ? [{ tone: "plain", name: "95 % of perfect models fall here", shape: "band" } as const]
      : []),
    ...(reference === null
      ? []
      : [
          {
            tone: "plain",
            name: `${reference_name.toLowerCase()} (${digits(reference)})`,
            dashes: "4 3",
          } as const,
        ]),
  ];
}

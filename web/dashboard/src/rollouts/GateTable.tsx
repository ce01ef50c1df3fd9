import type { Gate } from "../api/wire";
import { linear } from "../charts/scale";
import { Chip, type ChipTone } from "../ui/Chip";
import { Empty } from "../ui/Empty";
import { count, short } from "../ui/format";
import { ScrollBox } from "../ui/ScrollBox";

const verdicts: Record<Gate["verdict"], { name: string; tone: ChipTone }> = {
  pass: { name: "passed", tone: "good" },
  fail: { name: "failed", tone: "bad" },
  inconclusive: { name: "not decided", tone: "warn" },
  not_enough_data: { name: "too few requests", tone: "plain" },
  off: { name: "off", tone: "plain" },
};

function VerdictChip({ verdict }: { verdict: Gate["verdict"] }) {
  const { name, tone } = verdicts[verdict];
  return <Chip tone={tone}>{name}</Chip>;
}

/** Name of a gate for people. */
export function gateName(name: string): string {
  const spaced = name.replaceAll("_", " ");
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

/** Every condition: its estimate with the interval, the limit, and what follows from them. */
export function GateTable({ name, gates }: { name: string; gates: readonly Gate[] }) {
  if (gates.length === 0) {
    return <Empty title="The gates were not looked at yet">The first look is seconds away.</Empty>;
  }
  return (
    <ScrollBox name={name}>
      <table className="w-full min-w-160 border-collapse text-sm">
        <caption className="sr-only">{name}</caption>
        <thead>
          <tr className="text-xs text-muted">
            {["Gate", "Verdict", "Estimate and interval", "Limit", "Requests"].map((head) => (
              <th key={head} scope="col" className="px-2 py-1.5 text-left font-medium">
                {head}
              </th>
            ))}
            <th scope="col" className="w-1/3 px-2 py-1.5">
              <span className="sr-only">Interval drawn against the limit</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {gates.map((gate) => (
            <tr key={gate.name} className="border-t border-line align-top">
              <th scope="row" className="min-w-44 px-2 py-2 text-left font-medium">
                {gateName(gate.name)}
                {gate.about != null && (
                  <span className="block max-w-72 text-xs font-normal text-muted">
                    {gate.about}
                  </span>
                )}
              </th>
              <td className="px-2 py-2">
                <VerdictChip verdict={gate.verdict} />
              </td>
              <td className="px-2 py-2 font-mono text-xs whitespace-nowrap">
                {short(gate.value)}
                {gate.low !== null && gate.high !== null && (
                  <span className="block text-muted">
                    {short(gate.low)} to {short(gate.high)}
                  </span>
                )}
              </td>
              <td className="px-2 py-2 font-mono text-xs whitespace-nowrap">{short(gate.limit)}</td>
              <td className="px-2 py-2 text-xs whitespace-nowrap tabular-nums">
                {count(gate.n)}
                {gate.needed != null && (
                  <span className="block text-muted">of {count(gate.needed)} needed</span>
                )}
              </td>
              <td className="px-2 py-2">
                <GateBar gate={gate} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </ScrollBox>
  );
}

const WIDTH = 320;
const HEIGHT = 34;

/** The interval as a bar, the estimate as a dot on it, the limit as an upright line. */
function GateBar({ gate }: { gate: Gate }) {
  const { value, low, high, limit } = gate;
  const known = [value, low, high, limit].filter((each) => each !== null);
  if (low === null || high === null || limit === null || known.some((each) => !isFinite(each))) {
    return null;
  }
  // A wide interval must not press the limit to the edge: it is cut there instead.
  const reach = 2.2 * Math.max(Math.abs(limit), 1e-9);
  const at = value ?? limit;
  const least = Math.max(Math.min(0, ...known), Math.min(limit - 2 * reach, at));
  const most = Math.min(Math.max(0, ...known), Math.max(limit + 2 * reach, at));
  const air = 0.08 * (most - least || 1);
  const x = linear([least - air, most + air], [0, WIDTH]);
  const inside = (place: number) => Math.min(WIDTH - 1, Math.max(1, x(place)));
  const tone = gate.verdict === "pass" ? "good" : gate.verdict === "fail" ? "danger" : "field-line";
  const fill = { good: "fill-good", danger: "fill-danger", "field-line": "fill-field-line" }[tone];
  return (
    <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true" className="h-[34px] w-full max-w-80">
      <line x1={0} x2={WIDTH} y1={17} y2={17} className="stroke-line" />
      <line x1={x(0)} x2={x(0)} y1={11} y2={23} className="stroke-field-line" />
      <rect
        x={inside(low)}
        y={13}
        width={Math.max(2, inside(high) - inside(low))}
        height={8}
        rx={4}
        className={`${fill} opacity-45`}
      />
      {value !== null && <circle cx={inside(value)} cy={17} r={4.5} className={fill} />}
      <line
        x1={x(limit)}
        x2={x(limit)}
        y1={3}
        y2={31}
        strokeWidth={2}
        strokeDasharray="5 3"
        className="stroke-danger"
      />
    </svg>
  );
}

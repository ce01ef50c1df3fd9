import { fraction } from "../ui/format";
import type { Answer } from "./answer";
import { logistic } from "./tokens";

type Props = {
  answer: Answer;
  active: number | null;
  onActive: (index: number | null) => void;
};

/**
 * A probe's log-odds at a token of the answer; null where the model has not run over it.
 *
 * Readings come for the prompt and then one token behind the text, because a token is read when it
 * has been run: with n tokens written, the last n - 1 readings are the answer's.
 */
export function readingAt(answer: Answer, name: string, index: number): number | null {
  const readings = answer.readings[name] ?? [];
  const nPrompt = readings.length - Math.max(0, answer.tokens.length - 1);
  return index < 0 || nPrompt < 0 ? null : (readings[nPrompt + index] ?? null);
}

const HEIGHT = 40;
const STEP = 10;

/** One row a probe: its probability at each token, on the same axis as the others. */
export function ProbeStrips({ answer, active, onActive }: Props) {
  const names = Object.keys(answer.readings).sort();
  const others = Object.keys(answer.final?.probes ?? {}).filter((name) => !names.includes(name));
  if (names.length === 0) return others.length === 0 ? null : <Fallback answer={answer} />;
  return (
    <div>
      <h3 className="mb-1 text-sm font-semibold">Probes along the tokens</h3>
      <div className="grid grid-cols-1 gap-2">
        {names.map((name) => (
          <Strip key={name} name={name} answer={answer} active={active} onActive={onActive} />
        ))}
      </div>
      <p className="mt-1 text-xs text-muted">
        Height: the probe’s probability at that token, 0 at the foot and 1 at the top, before
        calibration. The number is the whole answer’s, calibrated.
      </p>
    </div>
  );
}

/** Readings without a probe behind them: one number for the answer, and what to think of it. */
function Fallback({ answer }: { answer: Answer }) {
  return Object.entries(answer.final?.probes ?? {}).map(([name, reading]) => (
    <p key={name} className="text-sm text-muted">
      No probe is served. In its place <span className="font-mono text-ink">{name}</span>
      {reading.uncertainty == null ? ". " : `: uncertainty ${fraction(reading.uncertainty)}. `}
      {reading.note}
    </p>
  ));
}

function Strip({ name, answer, active, onActive }: Props & { name: string }) {
  const probs = answer.tokens.map((_, index) => {
    const reading = readingAt(answer, name, index);
    return reading === null ? null : logistic(reading);
  });
  const pooled = answer.final?.probes?.[name];
  const width = STEP * Math.max(1, probs.length);
  return (
    <div className="grid grid-cols-[10rem_minmax(0,1fr)_9rem] items-center gap-3 text-sm max-sm:grid-cols-1">
      <span className="truncate font-mono" title={name}>
        {name}
      </span>
      <svg
        viewBox={`0 0 ${width} ${HEIGHT}`}
        preserveAspectRatio="none"
        className="h-10 rounded bg-sunken"
        style={{ width: `min(100%, ${probs.length * 1.5}rem)` }}
        role="img"
        aria-label={`${name} at each token: ${probs
          .map((prob) => (prob === null ? "none" : fraction(prob)))
          .join(", ")}`}
        onPointerLeave={() => onActive(null)}
      >
        {probs.map((prob, index) => (
          <g key={index} onPointerEnter={() => onActive(index)}>
            <rect x={index * STEP} y={0} width={STEP} height={HEIGHT} fill="transparent" />
            {prob !== null && (
              <rect
                x={index * STEP + 0.5}
                y={(1 - prob) * (HEIGHT - 1)}
                width={STEP - 1}
                height={Math.max(1, prob * (HEIGHT - 1) + 1)}
                className={index === active ? "fill-accent-strong" : "fill-accent opacity-70"}
              />
            )}
          </g>
        ))}
        <line
          x1={0}
          x2={width}
          y1={HEIGHT / 2}
          y2={HEIGHT / 2}
          className="pointer-events-none stroke-field-line"
          strokeDasharray="4 4"
          vectorEffect="non-scaling-stroke"
        />
      </svg>
      <span className="font-mono text-xs">
        {pooled?.probe_prob == null ? "" : fraction(pooled.probe_prob)}
        {pooled?.flagged === true && <strong className="ml-2 text-warning">flagged</strong>}
        {pooled?.validated === false && <span className="ml-2 text-muted">not validated</span>}
      </span>
    </div>
  );
}

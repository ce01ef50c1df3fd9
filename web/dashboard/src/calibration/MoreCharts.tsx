import { Key } from "../charts/Key";
import { fills, Line, Mark } from "../charts/marks";
import { Plot } from "../charts/Plot";
import { extent } from "../charts/scale";
import { count, digits, percent } from "../ui/format";
import { ScrollBox } from "../ui/ScrollBox";
import type { Confusion, TrainingCurve, TruthPanel } from "./chart";
import { toneOf } from "./tones";

/** Rows are the truth, columns what was said; darker is more of the row. */
export function ConfusionTable({ value }: { value: Confusion }) {
  const { labels, counts } = value;
  return (
    <ScrollBox name="Confusion of labels">
      <table className="text-sm">
        <caption className="mb-1 text-left text-xs whitespace-nowrap text-muted">
          {value.title}, {value.part}. Rows are true labels, columns what was said.
        </caption>
        <thead>
          <tr>
            <td />
            {labels.map((label) => (
              <th key={label} scope="col" className="px-2 py-1 text-xs font-medium text-muted">
                {label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {labels.map((label, row) => {
            const total = (counts[row] ?? []).reduce((sum, each) => sum + each, 0);
            return (
              <tr key={label}>
                <th scope="row" className="px-2 py-1 text-right text-xs font-medium text-muted">
                  {label}
                </th>
                {labels.map((column, at) => {
                  const held = counts[row]?.[at] ?? 0;
                  const share = total === 0 ? 0 : held / total;
                  return (
                    <td
                      key={column}
                      data-sure={Math.min(7, Math.floor(share * 8))}
                      className="min-w-16 border border-surface px-3 py-2 text-center font-mono"
                    >
                      {count(held)}
                      <span className="block text-xs">{percent(share, 0)}</span>
                    </td>
                  );
                })}
              </tr>
            );
          })}
        </tbody>
      </table>
    </ScrollBox>
  );
}

/** Loss on what was learnt from and on what was not. */
export function Training({ value }: { value: TrainingCurve }) {
  const points = (losses: readonly number[]) =>
    value.step.map((x, at) => ({ x, y: losses[at] ?? null }));
  return (
    <>
      <Plot
        summary={`Loss over ${count(value.step.at(-1))} steps; the best validation loss is at step ${count(value.best_step)}.`}
        x={{ domain: [0, value.step.at(-1) ?? 1], name: "Step" }}
        y={{ domain: extent([...value.train_loss, ...value.validation_loss]), name: "Loss" }}
        height={230}
      >
        {(frame) => (
          <>
            <Line frame={frame} tone="one" points={points(value.train_loss)} />
            <Line frame={frame} tone="two" points={points(value.validation_loss)} />
            <Mark frame={frame} at={value.best_step} text="kept" />
          </>
        )}
      </Plot>
      <Key
        entries={[
          { tone: "one", name: "training" },
          { tone: "two", name: "validation" },
        ]}
      />
    </>
  );
}

/** Dots at most: more make a blot. */
const MOST_DOTS = 500;

/** The known probability of being right against the confidence; only made data knows it. */
export function Truth({ panel }: { panel: TruthPanel }) {
  const tone = toneOf(panel.role);
  const step = Math.max(1, Math.ceil(panel.confidence.length / MOST_DOTS));
  const tenths = [0, 0.2, 0.4, 0.6, 0.8, 1];
  return (
    <div className="min-w-0">
      <h3 className="text-sm font-semibold">{panel.title}</h3>
      <Plot
        summary={`${panel.title}: mean distance between confidence and the known truth ${digits(panel.mean_gap)}.`}
        x={{ domain: [0, 1], name: "Confidence", ticks: tenths }}
        y={{ domain: [0, 1], name: "Known probability of being right", ticks: tenths }}
        height="square"
      >
        {(frame) => (
          <>
            <line
              x1={frame.x(0)}
              y1={frame.y(0)}
              x2={frame.x(1)}
              y2={frame.y(1)}
              className="stroke-field-line"
              strokeDasharray="5 4"
            />
            {panel.confidence.map((x, at) =>
              at % step === 0 ? (
                <circle
                  key={at}
                  cx={frame.x(x)}
                  cy={frame.y(panel.truth[at] ?? 0)}
                  r={2}
                  className={`${fills[tone]} opacity-30`}
                />
              ) : null,
            )}
            {panel.bin_confidence.map((x, at) => {
              const y = panel.bin_truth[at];
              return x === null || y == null ? null : (
                <circle
                  key={at}
                  cx={frame.x(x)}
                  cy={frame.y(y)}
                  r={5}
                  className={`${fills[tone]} stroke-surface`}
                />
              );
            })}
          </>
        )}
      </Plot>
      <p className="text-xs text-muted tabular-nums">Mean distance {digits(panel.mean_gap)}.</p>
    </div>
  );
}

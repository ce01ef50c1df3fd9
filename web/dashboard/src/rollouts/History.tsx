import type { Rollout } from "../api/wire";
import { Chip } from "../ui/Chip";
import { clock } from "../ui/format";
import { gatesOf } from "./evidence";
import { GateTable } from "./GateTable";
import { phaseOf } from "../inference/phases";

/** Every step, newest first, with what it rested on. */
export function History({ rollout }: { rollout: Rollout }) {
  return (
    <>
      <ol className="grid gap-3">
        {rollout.transitions.toReversed().map((step, at) => {
          const phase = phaseOf({ phase: step.after, paused: false });
          const gates = gatesOf(step);
          return (
            <li key={at} className="border-l-2 border-line pl-3 text-sm">
              <p className="flex flex-wrap items-center gap-x-3 gap-y-1">
                <Chip tone={phase.tone}>{phase.name}</Chip>
                <span className="text-muted tabular-nums">{clock(step.time_s)}</span>
                <span className="text-muted">by {step.actor}</span>
              </p>
              <p className="mt-0.5">{step.reason}</p>
              {gates.length > 0 && (
                <details className="mt-1">
                  <summary className="w-fit rounded text-xs text-muted hover:text-ink">
                    The gates at that moment
                  </summary>
                  <GateTable name={`Gates at ${clock(step.time_s)}`} gates={gates} />
                </details>
              )}
            </li>
          );
        })}
      </ol>
      <details className="mt-4 text-sm">
        <summary className="w-fit rounded text-muted hover:text-ink">The plan it follows</summary>
        <pre className="mt-2 rounded bg-sunken p-3 font-mono text-xs whitespace-pre-wrap">
          {JSON.stringify(rollout.plan, null, 2)}
        </pre>
      </details>
    </>
  );
}

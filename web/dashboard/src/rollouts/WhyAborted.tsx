import type { Rollout, Transition } from "../api/wire";
import { phaseOf } from "../inference/phases";
import { clock, count, percent, short } from "../ui/format";
import { EvidenceCharts } from "./EvidenceCharts";
import { gatesOf } from "./evidence";
import { gateName, GateTable } from "./GateTable";

type Props = { rollout: Rollout; step: Transition | null };

/** The one question after a rollback: who or what decided it, on which numbers. */
export function WhyAborted({ rollout, step }: Props) {
  const kept = step === null ? [] : gatesOf(step);
  const gates = kept.length > 0 ? kept : rollout.gates;
  const broken = gates.filter(({ verdict }) => verdict === "fail");
  const names = new Set(broken.map(({ name }) => name));
  const points = rollout.evidence_series.filter(({ gate }) => names.has(gate));
  return (
    <div className="grid grid-cols-1 gap-4 text-sm">
      <p>
        {step === null ? (
          rollout.decision.reason
        ) : (
          <>
            <strong className="font-semibold">{step.reason}</strong>
            <span className="block text-muted">
              Decided by {step.actor} at {clock(step.time_s)}
              {step.before !== null && <>, in phase {nameOf(step.before)}</>}.
            </span>
          </>
        )}
      </p>
      {broken.length === 0 && (
        <p className="text-muted">No gate had failed: somebody, or the clock, ended it.</p>
      )}
      {broken.map((gate) => (
        <p key={gate.name} className="rounded-md border-l-4 border-danger bg-sunken px-3 py-2">
          <strong>{gateName(gate.name)}</strong> was {short(gate.value)} over {count(gate.n)}{" "}
          requests. The interval that holds at every moment, {short(gate.low)} to {short(gate.high)}
          , lies wholly beyond the limit of {short(gate.limit)}.
        </p>
      ))}
      {points.length > 0 && <EvidenceCharts points={points} gates={broken} />}
      <div>
        <h3 className="mb-1 font-semibold">All gates at that moment</h3>
        <GateTable name="Gates when it ended" gates={gates} />
      </div>
      <p className="text-muted">
        The challenger answered {percent(largestWeight(rollout), 0)} of the requests at most. From
        that moment on {rollout.champion} answered all of them again.
      </p>
    </div>
  );
}

function nameOf(phase: string): string {
  return phaseOf({ phase, paused: false }).name;
}

/** Largest share that the history names; the present one where it names none. */
function largestWeight(rollout: Rollout): number {
  const named = rollout.transitions.map(({ evidence }) => evidence.weight);
  const known = named.filter((weight) => typeof weight === "number");
  return Math.max(rollout.weight, ...known);
}

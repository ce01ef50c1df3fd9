import { type Phase, steps } from "../inference/phases";

/** The way from shadow to done, and how far it was gone. */
export function Stepper({ phase, confirms }: { phase: Phase; confirms: boolean }) {
  if (phase.isFailed) return null;
  return (
    <ol aria-label="Phases" className="grid grid-cols-3 gap-x-2 gap-y-3 sm:grid-cols-6">
      {steps.map(({ name, about }, at) => {
        const isLeftOut = name === "Confirm" && !confirms;
        const isDone = !isLeftOut && (at < phase.step || phase.step === steps.length - 1);
        const isHere = at === phase.step;
        const bar = isDone ? "bg-good" : isHere ? "bg-accent" : "bg-line";
        return (
          <li key={name} aria-current={isHere ? "step" : undefined}>
            <span aria-hidden="true" className={`drawn mb-1 block h-1.5 rounded-full ${bar}`} />
            <span className={`text-sm ${isHere ? "font-semibold" : isDone ? "" : "text-muted"}`}>
              {isDone && (
                <span aria-hidden="true" className="text-good">
                  ✓{" "}
                </span>
              )}
              {name}
            </span>
            <span className="block text-xs text-muted">
              {isLeftOut ? "not asked for by the plan" : about}
            </span>
          </li>
        );
      })}
    </ol>
  );
}

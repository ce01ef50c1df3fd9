import { useState } from "react";
import { Link, useSearchParams } from "react-router";

import type { Rollout } from "../api/wire";
import { abortOf, phaseOf } from "../inference/phases";
import { changed, sameModel } from "../app/query";
import { Button } from "../ui/Button";
import { Card } from "../ui/Card";
import { Chip } from "../ui/Chip";
import { Dialog } from "../ui/Dialog";
import { clock, percent, span } from "../ui/format";
import { Stat, Stats } from "../ui/Stat";
import { StepDialog } from "./StepDialog";
import { Stepper } from "./Stepper";
import { verbNames, verbs, type Verb } from "./verbs";
import { WhyAborted } from "./WhyAborted";

const kinds: Record<Verb, "main" | "plain" | "danger"> = {
  promote: "main",
  finish: "main",
  pause: "plain",
  resume: "plain",
  abort: "danger",
};

type Props = { rollout: Rollout; onChanged: () => void };

/** Where the rollout stands, what was decided last, and the buttons. */
export function RolloutHead({ rollout, onChanged }: Props) {
  const [query, setQuery] = useSearchParams();
  const phase = phaseOf(rollout);
  // An address that ends in `why` has asked already.
  const [asked, setAsked] = useState<Verb | "why" | null>(
    phase.isFailed && query.has("why") ? "why" : null,
  );
  const close = () => {
    setAsked(null);
    if (query.has("why")) {
      setQuery((before) => changed(before, { why: null }), { replace: true });
    }
  };
  return (
    <Card
      title={`${rollout.challenger} in place of ${rollout.champion}`}
      aside={
        <span className="flex flex-wrap items-center gap-2">
          <Chip tone={phase.tone}>{phase.name}</Chip>
          {rollout.dry_run && <Chip>dry run: decides, moves nothing</Chip>}
        </span>
      }
    >
      <div className="grid grid-cols-1 gap-4">
        <Stepper phase={phase} confirms={rollout.plan.confirm !== false} />
        <Stats wide>
          <Stat
            name="Answered by the challenger"
            value={percent(rollout.weight, 0)}
            hint="of the requests"
          />
          <Stat
            name="Under way for"
            value={span(rollout.updated_s - rollout.started_s)}
            hint={`since ${clock(rollout.started_s)}`}
          />
          <Stat name="Last look" value={clock(rollout.updated_s)} hint="at the gates" />
        </Stats>
        <p
          role="status"
          className={`rounded-md border-l-4 bg-sunken px-3 py-2 text-sm ${phase.isFailed ? "border-danger" : phase.step === 5 ? "border-good" : "border-accent"}`}
        >
          <strong className="font-semibold">{rollout.decision.verdict.replaceAll("_", " ")}</strong>
          {rollout.decision.reason !== "" && <>: {rollout.decision.reason}</>}
        </p>
        <div className="flex flex-wrap gap-2">
          {phase.isFailed && (
            <Button kind="main" onClick={() => setAsked("why")}>
              Why did it abort?
            </Button>
          )}
          {phase.isOver && !phase.isFailed && (
            <p className="text-sm text-muted">
              To go back to the champion before, roll back on the page{" "}
              <Link
                to={sameModel(query, "/versions")}
                className="text-accent underline underline-offset-3"
              >
                Versions
              </Link>
              .
            </p>
          )}
          {verbs
            .filter((verb) => rollout.verbs?.includes(verb))
            .map((verb) => (
              <Button key={verb} kind={kinds[verb]} onClick={() => setAsked(verb)}>
                {verbNames[verb]}…
              </Button>
            ))}
        </div>
      </div>
      {asked === "why" && (
        <Dialog title="Why did it abort?" onClose={close} wide>
          <WhyAborted rollout={rollout} step={abortOf(rollout)} />
          <div className="mt-4 flex justify-end">
            <Button onClick={close}>Close</Button>
          </div>
        </Dialog>
      )}
      {asked !== null && asked !== "why" && (
        <StepDialog verb={asked} rollout={rollout} onClose={close} onTaken={onChanged} />
      )}
    </Card>
  );
}

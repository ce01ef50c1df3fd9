import { useState } from "react";

import { Problem } from "../api/problem";
import type { Rollout } from "../api/wire";
import { phaseOf } from "../inference/phases";
import { Confirm } from "../ui/Confirm";
import { percent } from "../ui/format";
import { Notice } from "../ui/Notice";
import { gateName } from "./GateTable";
import { take, verbNames, type Verb } from "./verbs";

type Props = { verb: Verb; rollout: Rollout; onClose: () => void; onTaken: () => void };

const titles: Record<Verb, string> = {
  promote: "Promote the challenger now?",
  finish: "End the bake?",
  abort: "Roll back?",
  pause: "Pause the rollout?",
  resume: "Go on with the rollout?",
};

/** Says what a step by hand does to live traffic, and takes it. */
export function StepDialog({ verb, rollout, onClose, onTaken }: Props) {
  const [isForced, setForced] = useState(false);
  const [isTaking, setTaking] = useState(false);
  const doubtful = rollout.gates.filter(
    ({ verdict }) => verdict === "inconclusive" || verdict === "not_enough_data",
  );
  const failed = rollout.gates.filter(({ verdict }) => verdict === "fail");
  // Only a rollout that waits for somebody, and is in no doubt, is promoted without force.
  const isEarly =
    verb === "promote" && (rollout.phase !== "WaitingPromotion" || doubtful.length > 0);
  // Somebody else, or the rollout itself, was quicker than whoever thinks before this window.
  const isPast = !isTaking && rollout.verbs?.includes(verb) !== true;
  return (
    <Confirm
      title={titles[verb]}
      verb={verbNames[verb]}
      isDangerous={verb === "abort" || isEarly}
      isReady={!isPast && (!isEarly || isForced)}
      onClose={onClose}
      onConfirm={async (reason) => {
        setTaking(true);
        try {
          await take(rollout.id, verb, isEarly ? { reason, force: true } : { reason });
        } finally {
          setTaking(false);
          // Who is refused looks at what has changed meanwhile.
          onTaken();
        }
      }}
    >
      {isPast ? (
        <Notice problem={changedSince(rollout)} />
      ) : (
        <Consequences verb={verb} rollout={rollout} />
      )}
      {verb === "promote" && !isPast && failed.length > 0 && (
        <p className="text-danger">
          Failed: {failed.map(({ name }) => gateName(name)).join(", ")}. The server refuses to
          promote while a gate fails.
        </p>
      )}
      {isEarly && !isPast && (
        <label className="flex items-start gap-2 rounded-md bg-warning-soft px-3 py-2">
          <input
            type="checkbox"
            className="mt-0.5 size-4 accent-accent"
            checked={isForced}
            onChange={(event) => setForced(event.target.checked)}
          />
          <span>
            Promote before the plan would.{" "}
            {doubtful.length > 0 && (
              <>Not decided yet: {doubtful.map(({ name }) => gateName(name)).join(", ")}. </>
            )}
            By itself the rollout goes on step by step.
          </span>
        </label>
      )}
    </Confirm>
  );
}

function changedSince(rollout: Rollout): Problem {
  return new Problem(
    "This cannot be done any more",
    `The rollout has gone on: ${phaseOf(rollout).name}. ${rollout.decision.reason}`,
  );
}

function Consequences({ verb, rollout }: { verb: Verb; rollout: Rollout }) {
  const challenger = <strong className="font-mono">{rollout.challenger}</strong>;
  const champion = <strong className="font-mono">{rollout.champion}</strong>;
  switch (verb) {
    case "abort":
      return (
        <p>
          {champion} answers every request from the next one on. {challenger} answers none any more.
          What was learnt so far stays in the history.
        </p>
      );
    case "promote":
      return (
        <p>
          {challenger} answers every request from the next one on; {champion} becomes the previous
          champion, to go back to.
        </p>
      );
    case "finish":
      return (
        <p>
          {challenger} stays champion, and no gate takes it back any more. {champion} is the
          previous champion, to go back to by hand.
        </p>
      );
    case "pause":
      return (
        <p>
          The share of {challenger} stays at {percent(rollout.weight, 0)}. It is still rolled back
          if a gate fails.
        </p>
      );
    case "resume":
      return <p>The gates decide again about the next step.</p>;
  }
}

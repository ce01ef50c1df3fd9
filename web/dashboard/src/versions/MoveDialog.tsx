import { Confirm } from "../ui/Confirm";
import { carryOut, type Move } from "./moves";

type Props = { move: Move; onClose: () => void; onMoved: () => void };

const titles: Record<Move["kind"], string> = {
  promote: "Make it champion?",
  "roll-back": "Roll back to this version?",
  challenge: "Let it see copies?",
  withdraw: "Take it out of the trial?",
};

export const verbs: Record<Move["kind"], string> = {
  promote: "Make champion",
  "roll-back": "Roll back",
  challenge: "Make challenger",
  withdraw: "Withdraw",
};

export function MoveDialog({ move, onClose, onMoved }: Props) {
  return (
    <Confirm
      title={titles[move.kind]}
      verb={verbs[move.kind]}
      isDangerous={move.kind === "promote" || move.kind === "roll-back"}
      onClose={onClose}
      onConfirm={async (reason) => {
        await carryOut(move, reason);
        onMoved();
      }}
    >
      <p>
        <strong className="font-mono">{move.version.name}</strong> {consequence(move)}
      </p>
      {move.kind === "promote" && (
        <p className="text-warning">
          No gate is asked. A rollout makes the same step in small ones, and only when the evidence
          allows it.
        </p>
      )}
      <p className="text-muted">
        If somebody moves the alias meanwhile, nothing happens and you are told who it was.
      </p>
    </Confirm>
  );
}

function consequence({ kind, alias }: Move): string {
  if (kind === "withdraw") return "sees no request any more.";
  if (kind === "challenge") return `becomes ${alias}: it sees a copy of requests, answers none.`;
  return "answers every request from the next one on; the present champion becomes the previous one.";
}

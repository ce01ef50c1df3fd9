import { useState } from "react";

import { Card } from "../ui/Card";
import { Choice } from "../ui/Field";
import { counted, fraction, nats } from "../ui/format";
import { Legend } from "../ui/Legend";
import { Notice } from "../ui/Notice";
import { entropyDoubt, probabilityDoubt } from "../ui/scales";
import type { Answer } from "./answer";
import { ProbeStrips } from "./ProbeStrips";
import { TokenText } from "./TokenText";
import { meanEntropy, meanProbability } from "./tokens";

type Props = {
  answer: Answer | null;
  active: number | null;
  pinned: number | null;
  onActive: (index: number | null) => void;
  onPin: (index: number | null) => void;
};

type Colour = "probability" | "entropy";

/** The answer, each token on the colour of its doubt, and the probes' readings below. */
export function AnswerCard({ answer, ...hand }: Props) {
  const [colour, setColour] = useState<Colour>("probability");
  const scale = colour === "probability" ? probabilityDoubt : entropyDoubt;
  return (
    <Card
      title="Answer"
      aside={
        <Choice<Colour>
          label="Colour by"
          value={colour}
          options={[
            { value: "probability", name: "probability" },
            { value: "entropy", name: "entropy" },
          ]}
          onChange={setColour}
        />
      }
    >
      {answer === null ? (
        <p className="text-muted">
          Nothing has been asked yet. Each token of the answer will stand on a colour: the stronger,
          the less sure the model was of it.
        </p>
      ) : (
        <div className="grid grid-cols-1 gap-3">
          {answer.problem !== null && <Notice problem={answer.problem} />}
          {answer.state === "waiting" && (
            <p className="waiting text-muted">Waiting for the model…</p>
          )}
          {answer.tokens.length > 0 && (
            <>
              <TokenText tokens={answer.tokens} colour={colour} scale={scale} {...hand} />
              <Legend scale={scale} />
              <Summary answer={answer} />
              <ProbeStrips answer={answer} active={hand.active} onActive={hand.onActive} />
            </>
          )}
          {answer.state === "done" && answer.tokens.length === 0 && (
            <p className="text-muted">The model ended at once: there is no token to show.</p>
          )}
        </div>
      )}
    </Card>
  );
}

const endings: Record<string, string> = {
  stop: "ended by itself",
  length: "cut at the most tokens",
  context: "cut at the end of the context",
  deadline: "cut at the deadline",
  cancelled: "stopped by the server",
};

function Summary({ answer }: { answer: Answer }) {
  const entropy = answer.final?.mean_entropy ?? meanEntropy(answer.tokens);
  const prob = meanProbability(answer.tokens);
  const timing = answer.final?.timing;
  const finish = answer.final?.finish_reason ?? answer.finish;
  const parts = [
    counted(answer.tokens.length, "token"),
    prob === null ? "" : `mean probability ${fraction(prob)} (geometric)`,
    entropy === null ? "" : `mean entropy ${nats(entropy)}`,
    timing === undefined ? "" : `first token after ${timing.first_token_s.toFixed(2)} s`,
    timing === undefined ? "" : `all after ${timing.total_s.toFixed(2)} s`,
    answer.state === "stopped"
      ? "stopped by you"
      : finish === null
        ? ""
        : (endings[finish] ?? finish),
  ];
  return (
    <p
      className="text-sm text-muted"
      // Said once, at the end: it changes with every token.
      aria-live={answer.state === "streaming" ? "off" : "polite"}
    >
      {parts.filter((part) => part !== "").join(" · ")}
    </p>
  );
}

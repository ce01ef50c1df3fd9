import { useCallback, useMemo, useState } from "react";

import { callJson } from "../api/http";
import type { components } from "../api/schema";
import { useLoaded } from "../api/useResource";
import { Button } from "../ui/Button";
import { Card } from "../ui/Card";
import { Choice, SelectField } from "../ui/Field";
import { Notice } from "../ui/Notice";
import { entropyDoubt, finalSure, probabilitySure } from "../ui/scales";
import type { Answer } from "./answer";
import { LensTable, type Shade } from "./LensTable";

type LensAnswered = components["schemas"]["LensAnswered"];
type LensAsked = components["schemas"]["LensAsked"];

/** Columns in one reading. */
const SPAN = 12;

const scales = { best: probabilitySure, final: finalSure, entropy: entropyDoubt };

function askedOf(answer: Answer, first: number): LensAsked {
  const ids = answer.tokens.map((token) => token.id);
  const { form, model } = answer.settings;
  return {
    model,
    ...(form === "chat"
      ? { messages: [{ role: "user", content: answer.prompt }] }
      : { prompt: answer.prompt }),
    // Ids are exact; the text again might be cut into other tokens than were written.
    response: ids.every((id) => id !== null) ? ids : answer.text,
    first,
    n_tokens: Math.min(SPAN, ids.length - first),
    top_k: 5,
  };
}

/** One asking; another one for the same tokens is another object. */
type Wanted = { first: number };

/** What each layer would have said at some tokens of the answer; read when it is asked for. */
export function LensCard({ answer, pinned }: { answer: Answer; pinned: number | null }) {
  const [wanted, setWanted] = useState<Wanted | null>(null);
  const [shade, setShade] = useState<Shade>("best");

  const asked = useMemo(
    () => (wanted === null ? null : askedOf(answer, wanted.first)),
    [answer, wanted],
  );
  const load = useCallback(
    (signal: AbortSignal) => callJson<LensAnswered>("/v1/lens", asked, signal),
    [asked],
  );
  // A reading takes the model's time: it is done when somebody asks, and once.
  const {
    data: lens,
    problem,
    loading,
  } = useLoaded(asked, load, {
    every: null,
    persistent: false,
  });

  const first = wanted?.first ?? null;
  const setFirst = (at: number) => setWanted({ first: at });

  const n = answer.tokens.length;
  const starts = Array.from({ length: Math.ceil(n / SPAN) }, (_, page) => page * SPAN);
  const begin = pinned === null ? 0 : Math.floor(pinned / SPAN) * SPAN;
  return (
    <Card
      title="Layer by layer"
      aside={
        lens !== null && (
          <Choice<Shade>
            label="Colour by"
            value={shade}
            options={[
              { value: "best", name: "probability" },
              { value: "final", name: "model’s choice" },
              { value: "entropy", name: "entropy" },
            ]}
            onChange={setShade}
          />
        )
      }
    >
      <p className="mb-3 text-sm text-muted">
        What the model would have said had it stopped after a layer: each layer’s state goes through
        the model’s own final norm and unembedding (the logit lens). Early layers speak another
        language, so read it as a trace of where the answer appears, not as thoughts.
      </p>
      {first === null ? (
        <Button kind="main" onClick={() => setFirst(begin)}>
          Read the layers
        </Button>
      ) : (
        <div className="grid grid-cols-1 gap-3">
          {starts.length > 1 && (
            <div className="max-w-60">
              <SelectField
                label="Tokens of the answer"
                value={String(first)}
                options={starts.map((start) => ({
                  value: String(start),
                  name: `#${start} to #${Math.min(n, start + SPAN) - 1}`,
                }))}
                onChange={(value) => setFirst(Number(value))}
              />
            </div>
          )}
          {problem !== null && (
            <div className="grid justify-items-start gap-2">
              <Notice problem={problem} />
              <Button onClick={() => setFirst(first)}>Try again</Button>
            </div>
          )}
          {loading && (
            <p role="status" className="waiting text-muted">
              Reading every layer…
            </p>
          )}
          {lens !== null && (
            <LensTable
              lens={lens}
              shade={shade}
              scale={scales[shade]}
              marked={pinned === null ? null : pinned - first}
            />
          )}
        </div>
      )}
    </Card>
  );
}

import { useEffect, useReducer, useRef, useState } from "react";

import type { components } from "../api/schema";
import { useResource } from "../api/useResource";
import { Card } from "../ui/Card";
import { Failed } from "../ui/Outage";
import { ask, reduce } from "./answer";
import { AnswerCard } from "./AnswerCard";
import { Inspector } from "./Inspector";
import { LensCard } from "./LensCard";
import { PromptCard } from "./PromptCard";
import { callOf, defaults, faults, type Settings } from "./request";
import { SettingsForm } from "./SettingsForm";

type ServedModels = components["schemas"]["ServedModels"];

/** Answers a prompt and shows how sure the model was, token by token and layer by layer. */
export function PlaygroundPage() {
  const models = useResource<ServedModels>("/v1/models", { every: null });
  const [prompt, setPrompt] = useState("");
  const [chosen, setSettings] = useState<Settings>(defaults);
  const [answer, tell] = useReducer(reduce, null);
  const [active, setActive] = useState<number | null>(null);
  const [pinned, setPinned] = useState<number | null>(null);
  const running = useRef<AbortController | null>(null);

  useEffect(() => {
    document.title = "Playground · Glassbox";
    return () => running.current?.abort();
  }, []);

  // A classifier labels texts; it writes none.
  const writers = (models.data?.data ?? []).filter(
    ({ glassbox }) => glassbox.kind !== "classifier",
  );
  const model = writers.find(({ id }) => id === chosen.model) ?? writers[0];
  const settings = { ...chosen, model: model?.id ?? "" };
  const busy = answer?.state === "waiting" || answer?.state === "streaming";
  const ready = prompt !== "" && model !== undefined && Object.keys(faults(settings)).length === 0;

  const run = () => {
    running.current?.abort();
    const stopper = new AbortController();
    running.current = stopper;
    setActive(null);
    setPinned(null);
    tell({ kind: "begun", prompt, settings });
    void ask(
      callOf(prompt, settings),
      (news) => {
        // A newer question has taken the page over.
        if (running.current === stopper) tell(news);
      },
      stopper.signal,
    );
  };

  const shown = active ?? pinned;
  return (
    <>
      <h1 className="sr-only">Playground</h1>
      <div className="grid items-start gap-4 lg:grid-cols-[minmax(0,1fr)_20rem]">
        <div className="grid min-w-0 grid-cols-1 gap-4">
          {models.problem !== null && (
            <Failed
              problem={models.problem}
              onRetry={models.refresh}
              isOld={models.data !== null}
            />
          )}
          <PromptCard
            prompt={prompt}
            onChange={setPrompt}
            settings={settings}
            busy={busy}
            ready={ready}
            onRun={run}
            onStop={() => running.current?.abort()}
            embedded={model?.id === "tiny" || model?.root === "tiny"}
          />
          <AnswerCard
            answer={answer}
            active={shown}
            pinned={pinned}
            onActive={setActive}
            onPin={setPinned}
          />
          {answer !== null && answer.tokens.length > 0 && !busy && (
            <LensCard key={answer.prompt + answer.text} answer={answer} pinned={pinned} />
          )}
        </div>
        <div className="grid gap-4 lg:sticky lg:top-4">
          <Card title="Settings">
            <SettingsForm
              settings={settings}
              onChange={setSettings}
              models={writers}
              loaded={!models.loading}
            />
          </Card>
          <Inspector answer={answer} index={shown} isPinned={shown !== null && shown === pinned} />
        </div>
      </div>
    </>
  );
}

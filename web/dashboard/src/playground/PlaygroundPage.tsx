import { useEffect, useReducer, useRef, useState, useSyncExternalStore } from "react";

import { callJson } from "../api/http";
import { apiKey } from "../api/key";
import { asProblem, type Problem } from "../api/problem";
import type { components } from "../api/schema";
import { Card } from "../ui/Card";
import { Notice } from "../ui/Notice";
import { ask, reduce } from "./answer";
import { AnswerCard } from "./AnswerCard";
import { Inspector } from "./Inspector";
import { LensCard } from "./LensCard";
import { PromptCard } from "./PromptCard";
import { callOf, defaults, faults, type ServedModel, type Settings } from "./request";
import { SettingsForm } from "./SettingsForm";

type Models = { list: ServedModel[]; problem: Problem | null; loaded: boolean };

/** The models that write text; asked for again when the key changes. */
function useModels(): Models {
  const key = useSyncExternalStore(apiKey.subscribe, apiKey.get);
  const [models, setModels] = useState<Models>({ list: [], problem: null, loaded: false });
  useEffect(() => {
    const leaving = new AbortController();
    callJson<components["schemas"]["ServedModels"]>("/v1/models", undefined, leaving.signal).then(
      ({ data }) => {
        const list = data.filter((model) => model.glassbox.kind !== "classifier");
        setModels({ list, problem: null, loaded: true });
      },
      (error: unknown) => {
        if (leaving.signal.aborted) return;
        setModels({ list: [], problem: asProblem(error), loaded: true });
      },
    );
    return () => leaving.abort();
  }, [key]);
  return models;
}

/** Answers a prompt and shows how sure the model was, token by token and layer by layer. */
export function PlaygroundPage() {
  const models = useModels();
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

  const model = models.list.find(({ id }) => id === chosen.model) ?? models.list[0];
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
          {models.problem !== null && <Notice problem={models.problem} />}
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
              models={models.list}
              loaded={models.loaded}
            />
          </Card>
          <Inspector answer={answer} index={shown} isPinned={shown !== null && shown === pinned} />
        </div>
      </div>
    </>
  );
}

import { Choice, SelectField, Slider, TextField } from "../ui/Field";
import { counted } from "../ui/format";
import { type Form, faults, type ServedModel, type Settings } from "./request";

type Props = {
  settings: Settings;
  onChange: (settings: Settings) => void;
  models: ServedModel[];
  loaded: boolean;
};

function hintOf(model: ServedModel | undefined): string {
  const facts = model?.glassbox;
  if (model === undefined || facts === undefined) return "";
  if (facts.kind === "adapter") return `Adapter of ${model.parent ?? "the base model"}`;
  const parts = [
    facts.n_layers == null ? "" : counted(facts.n_layers, "layer"),
    facts.n_parameters == null ? "" : `${(facts.n_parameters / 1e6).toFixed(1)} M parameters`,
    facts.dtype ?? "",
  ];
  return parts.filter((part) => part !== "").join(", ");
}

/** Which model answers, and how its tokens are drawn. */
export function SettingsForm({ settings, onChange, models, loaded }: Props) {
  const set = (change: Partial<Settings>) => onChange({ ...settings, ...change });
  const wrong = faults(settings);
  const model = models.find(({ id }) => id === settings.model);
  return (
    <form className="grid gap-3" onSubmit={(event) => event.preventDefault()}>
      <SelectField
        label="Model"
        hint={hintOf(model)}
        value={settings.model}
        disabled={models.length === 0}
        options={
          models.length === 0
            ? [{ value: "", name: loaded ? "none to be had" : "asking the server…" }]
            : models.map(({ id }) => ({ value: id, name: id }))
        }
        onChange={(id) => set({ model: id })}
      />
      <div>
        <Choice<Form>
          label="Prompt is a"
          value={settings.form}
          options={[
            { value: "text", name: "text" },
            { value: "chat", name: "chat message" },
          ]}
          onChange={(form) => set({ form })}
        />
        {settings.form === "chat" && model?.glassbox.has_chat_template === false && (
          <p className="mt-1 text-xs text-muted">
            This model has no chat template, so it continues the message as it stands.
          </p>
        )}
      </div>
      <Slider
        label="Temperature"
        hint={settings.temperature === 0 ? "Greedy: always the most probable token." : ""}
        value={settings.temperature}
        min={0}
        max={2}
        step={0.05}
        onChange={(temperature) => set({ temperature })}
      />
      <Slider
        label="Top p"
        value={settings.topP}
        min={0.05}
        max={1}
        step={0.05}
        onChange={(topP) => set({ topP })}
      />
      <div className="grid grid-cols-2 gap-3">
        <TextField
          label="Max tokens"
          value={settings.maxTokens}
          inputMode="numeric"
          invalid={wrong.maxTokens !== undefined}
          {...(wrong.maxTokens === undefined ? {} : { hint: wrong.maxTokens })}
          onChange={(maxTokens) => set({ maxTokens })}
          mono
        />
        <TextField
          label="Seed"
          value={settings.seed}
          inputMode="numeric"
          placeholder="drawn"
          invalid={wrong.seed !== undefined}
          {...(wrong.seed === undefined ? {} : { hint: wrong.seed })}
          onChange={(seed) => set({ seed })}
          mono
        />
      </div>
      <label className="text-sm font-medium">
        Stop strings
        <textarea
          rows={2}
          spellCheck={false}
          value={settings.stop}
          aria-invalid={wrong.stop !== undefined || undefined}
          placeholder="one a line; \n is a line break"
          className="mt-1 w-full rounded-md border border-field-line bg-surface px-2 py-1 font-mono text-sm font-normal placeholder:text-muted"
          onChange={(event) => set({ stop: event.target.value })}
        />
        {wrong.stop !== undefined && (
          <span className="text-xs font-normal text-danger">{wrong.stop}</span>
        )}
      </label>
    </form>
  );
}

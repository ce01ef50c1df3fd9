import { type ReactNode, useState } from "react";

import { useSearchParams } from "react-router";

import { modelsPath } from "../api/http";
import { useResource } from "../api/useResource";
import type { AliasMove, Version, Versions } from "../api/wire";
import { changed } from "../app/query";
import { newestFirst } from "../models/models";
import { Card } from "../ui/Card";
import { Command, Empty } from "../ui/Empty";
import { SelectField, TextField } from "../ui/Field";
import { Page } from "../ui/Page";
import { Shown } from "../ui/Shown";
import { useBroughtUp } from "../ui/useBroughtUp";
import { MoveDialog } from "./MoveDialog";
import { MoveHistory } from "./MoveHistory";
import type { Move } from "./moves";
import { VersionDetail } from "./VersionDetail";
import { VersionTable } from "./VersionTable";

/** Versions that are found by looking; of more, a name is searched for. */
const MANY = 15;

/** Every registered version, which of them has which part, and who decided so. */
export function VersionsPage() {
  const versions = useResource<Versions>(modelsPath("/versions"), { on: ["rollout"] });
  const history = useResource<AliasMove[]>(modelsPath("/versions/history"), { on: ["rollout"] });
  const [query, setQuery] = useSearchParams();
  const model = query.get("model") ?? "";
  const part = query.get("name") ?? "";
  const all = newestFirst(versions.data?.versions ?? []);
  const models = [...new Set(all.map((each) => each.model))].toSorted();
  const isMeant = (each: { model: string }) => model === "" || each.model === model;
  const found = all.filter((each) => isMeant(each) && each.name.includes(part));
  const [move, setMove] = useState<Move | null>(null);
  return (
    <Page
      title="Versions"
      about="A version never changes; the aliases that point at it do, and every move is kept."
      actions={
        <>
          {(all.length > MANY || part !== "") && (
            <div className="w-56 max-w-full">
              <TextField
                label="Name contains"
                value={part}
                onChange={(name) =>
                  setQuery((before) => changed(before, { name }), { replace: true })
                }
              />
            </div>
          )}
          {models.length > 1 && (
            <div className="w-56 max-w-full">
              <SelectField
                label="Model"
                value={model}
                options={[
                  { value: "", name: "any" },
                  ...models.map((name) => ({ value: name, name })),
                ]}
                onChange={(chosen) =>
                  setQuery((before) => changed(before, { model: chosen, version: null }))
                }
              />
            </div>
          )}
        </>
      }
    >
      <Shown resource={versions} what="the versions">
        {(registry) =>
          registry.versions.length === 0 ? (
            <Empty title="No version is registered">
              What <code className="font-mono">glassbox evaluate</code> wrote registers with one
              command.
              <br />
              <Command>glassbox versions register runs/reviews</Command>
            </Empty>
          ) : (
            <Registered
              versions={found}
              aliases={registry.aliases}
              chosen={query.get("version")}
              onChoose={(version) =>
                setQuery((before) => changed(before, { version }), { replace: true })
              }
              onMove={setMove}
            >
              <Card title="History of the aliases">
                <Shown resource={history} what="the history">
                  {(moves) => (
                    <MoveHistory moves={moves.filter(isMeant)} versions={registry.versions} />
                  )}
                </Shown>
              </Card>
            </Registered>
          )
        }
      </Shown>
      {move !== null && (
        <MoveDialog
          move={move}
          onClose={() => setMove(null)}
          onMoved={() => {
            versions.refresh();
            history.refresh();
          }}
        />
      )}
    </Page>
  );
}

type RegisteredProps = {
  /** Newest first. */
  versions: readonly Version[];
  aliases: Versions["aliases"];
  chosen: string | null;
  onChoose: (name: string) => void;
  onMove: (move: Move) => void;
  /** Below the list. */
  children: ReactNode;
};

function Registered(props: RegisteredProps) {
  const { versions, aliases, chosen, onChoose, onMove, children } = props;
  const champion = versions.find((each) => each.aliases.includes("champion"));
  const shown: Version | undefined =
    versions.find(({ name }) => name === chosen) ?? champion ?? versions[0];
  const detail = useBroughtUp<HTMLDivElement>(chosen);
  return (
    <div className="grid min-w-0 grid-cols-1 items-start gap-4 xl:grid-cols-[minmax(0,1fr)_26rem]">
      <div className="grid min-w-0 grid-cols-1 gap-4">
        <Card title="Registered versions" className="min-w-0">
          {versions.length === 0 ? (
            <p className="text-sm text-muted">No version has such a name.</p>
          ) : (
            <VersionTable versions={versions} chosen={shown?.name ?? null} onChoose={onChoose} />
          )}
        </Card>
        {children}
      </div>
      {shown !== undefined && (
        <div ref={detail} className="min-w-0 scroll-mt-2">
          <VersionDetail version={shown} aliases={aliases[shown.model] ?? {}} onMove={onMove} />
        </div>
      )}
    </div>
  );
}

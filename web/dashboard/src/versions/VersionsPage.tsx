import { type ReactNode, useState } from "react";

import { modelsPath } from "../api/http";
import { useResource } from "../api/useResource";
import type { AliasMove, Version, Versions } from "../api/wire";
import { Card } from "../ui/Card";
import { Command, Empty } from "../ui/Empty";
import { Page } from "../ui/Page";
import { Shown } from "../ui/Shown";
import { useBroughtUp } from "../ui/useBroughtUp";
import { MoveDialog } from "./MoveDialog";
import { MoveHistory } from "./MoveHistory";
import type { Move } from "./moves";
import { VersionDetail } from "./VersionDetail";
import { VersionTable } from "./VersionTable";

/** Every registered version, which of them has which part, and who decided so. */
export function VersionsPage() {
  const versions = useResource<Versions>(modelsPath("/versions"), { on: ["rollout"] });
  const history = useResource<AliasMove[]>(modelsPath("/versions/history"), { on: ["rollout"] });
  const [chosen, setChosen] = useState<string | null>(null);
  const [move, setMove] = useState<Move | null>(null);
  return (
    <Page
      title="Versions"
      about="A version never changes; the aliases that point at it do, and every move is kept."
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
            <Registered registry={registry} chosen={chosen} onChoose={setChosen} onMove={setMove}>
              <Card title="History of the aliases">
                <Shown resource={history} what="the history">
                  {(moves) => <MoveHistory moves={moves} versions={registry.versions} />}
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
  registry: Versions;
  chosen: string | null;
  onChoose: (name: string) => void;
  onMove: (move: Move) => void;
  /** Below the list. */
  children: ReactNode;
};

function Registered({ registry, chosen, onChoose, onMove, children }: RegisteredProps) {
  const newest = registry.versions.toReversed();
  const champion = newest.find(({ aliases }) => aliases.includes("champion"));
  const shown: Version | undefined =
    newest.find(({ name }) => name === chosen) ?? champion ?? newest[0];
  const detail = useBroughtUp<HTMLDivElement>(chosen);
  return (
    <div className="grid min-w-0 grid-cols-1 items-start gap-4 xl:grid-cols-[minmax(0,1fr)_26rem]">
      <div className="grid min-w-0 grid-cols-1 gap-4">
        <Card title="Registered versions" className="min-w-0">
          <VersionTable versions={newest} chosen={shown?.name ?? null} onChoose={onChoose} />
        </Card>
        {children}
      </div>
      {shown !== undefined && (
        <div ref={detail} className="min-w-0 scroll-mt-2">
          <VersionDetail
            version={shown}
            aliases={registry.aliases[shown.model] ?? {}}
            onMove={onMove}
          />
        </div>
      )}
    </div>
  );
}

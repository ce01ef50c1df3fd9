import { Fragment } from "react";

import type { Study } from "../api/wire";
import { Card } from "../ui/Card";
import { Chip } from "../ui/Chip";
import { Empty } from "../ui/Empty";
import { compact, percent, short } from "../ui/format";
import { LatentLink } from "./LatentLink";
import { verdictOf } from "./words";

type Props = { study: Study; onChoose: (latent: string) => void };

const SHOWN = 20;

/** Ways from a token to the decision, and the communities they lie in. */
export function DecisionPaths({ study, onChoose }: Props) {
  const paths = (study.paths ?? []).slice(0, SHOWN);
  return (
    <>
      <Card title="From tokens to the decision">
        {paths.length === 0 ? (
          <Empty title="No path from a token to the decision was found" />
        ) : (
          <ol className="grid gap-2 text-sm">
            {paths.map(({ nodes, weight, verified }) => (
              <li key={nodes.join(" ")} className="flex flex-wrap items-center gap-x-2 gap-y-1">
                {nodes.map((node, at) => (
                  <Fragment key={node}>
                    {at > 0 && (
                      <span aria-hidden="true" className="text-muted">
                        →
                      </span>
                    )}
                    {isLatent(node) ? (
                      <LatentLink name={node} onChoose={onChoose} />
                    ) : (
                      <span className="min-w-0 font-mono text-xs wrap-anywhere">
                        {nodeWords(node)}
                      </span>
                    )}
                  </Fragment>
                ))}
                <span className="ml-auto flex items-center gap-2 font-mono text-xs">
                  {weight < 0 ? "towards continuing" : "towards stopping"} {short(Math.abs(weight))}
                  <Chip tone={verdictOf(verified).tone}>{verdictOf(verified).name}</Chip>
                </span>
              </li>
            ))}
          </ol>
        )}
      </Card>
      {(study.communities ?? []).length > 0 && (
        <Card title="Communities">
          <ol className="grid gap-3 text-sm">
            {(study.communities ?? []).map(({ number, members, share_inside, tokens }) => (
              <li key={number}>
                <p className="flex flex-wrap gap-x-2 gap-y-1">
                  {members.slice(0, SHOWN).map((name) => (
                    <LatentLink key={name} name={name} onChoose={onChoose} />
                  ))}
                  {members.length > SHOWN && <span>and {members.length - SHOWN} more</span>}
                </p>
                <p className="text-xs text-muted">
                  {percent(share_inside, 0)} of their edges’ weight stays inside
                  {(tokens ?? []).length > 0 && (
                    <>
                      ; fired by{" "}
                      <span className="font-mono wrap-anywhere">
                        {(tokens ?? []).map(compact).join(" ")}
                      </span>
                    </>
                  )}
                </p>
              </li>
            ))}
          </ol>
        </Card>
      )}
    </>
  );
}

function isLatent(node: string): boolean {
  return /^L\d+-\d+$/.test(node);
}

function nodeWords(node: string): string {
  return node.startsWith("token:") ? compact(node.slice("token:".length)) : node;
}

import { useMemo, useState } from "react";

import { studyPath } from "../api/http";
import { useResource } from "../api/useResource";
import type { Graph } from "../api/wire";
import { DataTable } from "../charts/DataTable";
import { Key } from "../charts/Key";
import { Card } from "../ui/Card";
import { Empty } from "../ui/Empty";
import { Choice } from "../ui/Field";
import { count, digits } from "../ui/format";
import { ScrollBox } from "../ui/ScrollBox";
import { Shown } from "../ui/Shown";
import { DASHED, DOTTED, GraphPicture } from "./GraphPicture";
import { verdictOf } from "./words";

type Props = { study: string; chosen: string | null; onChoose: (latent: string | null) => void };

const SIZES = ["40", "120", "400"] as const;

/** The study's graph: tokens, latents by layer, the decision. */
export function GraphCard({ study, chosen, onChoose }: Props) {
  const [size, setSize] = useState<(typeof SIZES)[number]>("40");
  const [shows, setShows] = useState<"all" | "confirmed">("all");
  const graph = useResource<Graph>(studyPath(study, "/graph", { limit: size }), { every: null });
  return (
    <Card
      title="Graph"
      aside={
        <span className="flex flex-wrap gap-3">
          <Choice
            label="Edges"
            value={size}
            options={SIZES.map((value) => ({ value, name: value }))}
            onChange={setSize}
          />
          <Choice
            label="Shown"
            value={shows}
            options={[
              { value: "all", name: "all" },
              { value: "confirmed", name: "confirmed only" },
            ]}
            onChange={setShows}
          />
        </span>
      }
    >
      <Shown resource={graph} what="the graph">
        {(found) => (
          <Drawn
            graph={found}
            onlyConfirmed={shows === "confirmed"}
            chosen={chosen}
            onChoose={onChoose}
          />
        )}
      </Shown>
    </Card>
  );
}

type DrawnProps = {
  graph: Graph;
  onlyConfirmed: boolean;
  chosen: string | null;
  onChoose: (latent: string | null) => void;
};

function Drawn({ graph, onlyConfirmed, chosen, onChoose }: DrawnProps) {
  const part = useMemo(() => (onlyConfirmed ? confirmed(graph) : graph), [graph, onlyConfirmed]);
  if (part.edges.length === 0) return <Empty title="There is no edge to draw" />;
  return (
    <div className="grid min-w-0 grid-cols-1 gap-1">
      <Key
        entries={[
          { tone: "one", name: "raises" },
          { tone: "two", name: "lowers" },
          { tone: "plain", name: "replay did not confirm it", dashes: DASHED },
          { tone: "plain", name: "not replayed", dashes: DOTTED },
        ]}
      />
      <ScrollBox name="Graph of the study" className="max-h-[44rem]">
        <GraphPicture graph={part} chosen={chosen} onChoose={onChoose} />
      </ScrollBox>
      <p className="text-xs text-muted tabular-nums">
        {count(part.edges.length)} of {count(graph.n_edges)} edges and {count(part.nodes.length)} of{" "}
        {count(graph.n_nodes)} nodes: paths to the decision first, then what was confirmed, then by
        weight.
      </p>
      <DataTable
        name="Edges of the graph"
        head={["Source", "Target", "Weight", "Replay"]}
        rows={part.edges.map(({ source, target, weight, verified }) => [
          source,
          target,
          digits(weight),
          verdictOf(verified).name,
        ])}
      />
    </div>
  );
}

function confirmed(graph: Graph): Graph {
  const edges = graph.edges.filter(({ verified }) => verified === true);
  const ends = new Set(edges.flatMap(({ source, target }) => [source, target]));
  return { ...graph, edges, nodes: graph.nodes.filter(({ name }) => ends.has(name)) };
}

import { type KeyboardEvent, useMemo, useRef, useState } from "react";

import type { Edge, Graph } from "../api/wire";
import { compact, counted } from "../ui/format";
import { layout, type Placed } from "./layout";

type Props = { graph: Graph; chosen: string | null; onChoose: (latent: string | null) => void };

const WIDE = 104;
const HIGH = 20;

export const DASHED = "6 4";
export const DOTTED = "1.5 3";

/**
 * Nodes in columns and curves between them. Arrow keys go from node to node, Enter chooses a latent;
 * what is not joined to the node in focus fades.
 */
export function GraphPicture({ graph, chosen, onChoose }: Props) {
  const placed = useMemo(() => layout(graph), [graph]);
  const [near, setNear] = useState<string | null>(null);
  const [stop, setStop] = useState(0);
  const picture = useRef<SVGSVGElement>(null);
  const byName = useMemo(
    () => new Map(placed.nodes.map((node) => [node.name, node])),
    [placed.nodes],
  );
  const focus = near ?? (chosen !== null && byName.has(chosen) ? chosen : null);
  const joined = useMemo(
    () => (focus === null ? null : around(focus, graph.edges)),
    [focus, graph],
  );
  const most = Math.max(1e-9, ...graph.edges.map(({ weight }) => Math.abs(weight)));

  const go = (at: number) => {
    const next = Math.max(0, Math.min(placed.nodes.length - 1, at));
    setStop(next);
    picture.current?.querySelector<SVGGElement>(`[data-at="${next}"]`)?.focus();
  };
  const onKeyDown = (event: KeyboardEvent, at: number, node: Placed) => {
    const to = target(event.key, placed.nodes, at);
    if (to !== null) {
      event.preventDefault();
      go(to);
    } else if ((event.key === "Enter" || event.key === " ") && node.kind === "latent") {
      event.preventDefault();
      onChoose(node.name === chosen ? null : node.name);
    }
  };

  return (
    <svg
      ref={picture}
      width={placed.width}
      height={placed.height}
      role="group"
      aria-label={`Graph of ${counted(graph.nodes.length, "node")} and ${counted(graph.edges.length, "edge")}, tokens at the left, the decision at the right`}
      className="mx-auto block"
      onPointerLeave={() => setNear(null)}
    >
      {placed.columns.map(({ name, x }) => (
        <text
          key={name}
          x={x}
          y={16}
          textAnchor="middle"
          aria-hidden="true"
          className="fill-muted text-[11px]"
        >
          {name}
        </text>
      ))}
      <g aria-hidden="true">
        {graph.edges.map((edge) => (
          <Curve
            key={`${edge.source} ${edge.target}`}
            edge={edge}
            from={byName.get(edge.source)}
            to={byName.get(edge.target)}
            width={1 + 4 * (Math.abs(edge.weight) / most)}
            isFaint={focus !== null && edge.source !== focus && edge.target !== focus}
          />
        ))}
      </g>
      {placed.nodes.map((node, at) => (
        <g
          key={node.name}
          role="button"
          aria-label={said(node, graph.edges)}
          aria-pressed={node.kind === "latent" ? node.name === chosen : undefined}
          aria-disabled={node.kind === "latent" ? undefined : true}
          tabIndex={at === Math.min(stop, placed.nodes.length - 1) ? 0 : -1}
          data-at={at}
          transform={`translate(${node.x} ${node.y})`}
          className={node.kind === "latent" ? "cursor-pointer" : undefined}
          onPointerEnter={() => setNear(node.name)}
          onFocus={() => {
            setNear(node.name);
            setStop(at);
          }}
          onBlur={() => setNear(null)}
          onKeyDown={(event) => onKeyDown(event, at, node)}
          onClick={
            node.kind === "latent"
              ? () => onChoose(node.name === chosen ? null : node.name)
              : undefined
          }
        >
          {/* Curves pass behind a node, also behind one that fades. */}
          <Box node={node} className="fill-surface" />
          <g className={joined === null || joined.has(node.name) ? "" : "opacity-30"}>
            <Box node={node} className={look(node, node.name === chosen)} />
            <text
              textAnchor="middle"
              dy="0.34em"
              className={`${node.kind === "logit" ? "font-sans" : "font-mono"} text-[11px] ${node.name === chosen ? "fill-on-accent" : "fill-ink"}`}
            >
              {clipped(compact(node.label))}
            </text>
          </g>
        </g>
      ))}
    </svg>
  );
}

function Box({ node, className }: { node: Placed; className: string }) {
  return (
    <rect
      x={-WIDE / 2}
      y={-HIGH / 2}
      width={WIDE}
      height={HIGH}
      rx={node.kind === "latent" ? 5 : 10}
      strokeWidth={node.on_path ? 2 : 1}
      className={className}
    />
  );
}

function look(node: Placed, isChosen: boolean): string {
  if (isChosen) return "fill-accent stroke-accent";
  if (node.kind === "latent") {
    return node.on_path ? "fill-accent-soft stroke-accent" : "fill-surface stroke-field-line";
  }
  return "fill-sunken stroke-field-line";
}

type CurveProps = {
  edge: Edge;
  from: Placed | undefined;
  to: Placed | undefined;
  width: number;
  isFaint: boolean;
};

function Curve({ edge, from, to, width, isFaint }: CurveProps) {
  if (from === undefined || to === undefined) return null;
  const [x1, x2] = [from.x + WIDE / 2, to.x - WIDE / 2];
  const bend = Math.max(16, (x2 - x1) / 2);
  return (
    <path
      d={`M${x1} ${from.y}C${x1 + bend} ${from.y} ${x2 - bend} ${to.y} ${x2} ${to.y}`}
      strokeWidth={width}
      className={`pointer-events-none fill-none ${edge.weight < 0 ? "stroke-two" : "stroke-one"} ${isFaint ? "opacity-8" : "opacity-70"}`}
      {...(edge.verified === true ? {} : { strokeDasharray: dashesOf(edge) })}
    />
  );
}

/** Dashed where replay did not confirm it, dotted where nothing was replayed. */
function dashesOf({ verified }: Edge): string {
  return verified === false ? DASHED : DOTTED;
}

/** The node and all that an edge joins to it. */
function around(name: string, edges: readonly Edge[]): ReadonlySet<string> {
  const found = new Set([name]);
  for (const { source, target } of edges) {
    if (source === name) found.add(target);
    if (target === name) found.add(source);
  }
  return found;
}

function said(node: Placed, edges: readonly Edge[]): string {
  const ins = edges.filter(({ target }) => target === node.name).length;
  const outs = edges.filter(({ source }) => source === node.name).length;
  const kind = node.kind === "logit" ? "" : `${node.kind} `;
  return `${kind}${compact(node.label)}, ${ins} in, ${outs} out${node.on_path ? ", on a path to the decision" : ""}`;
}

/** Where a key leads: up and down within a column, left and right to the nearest of the next. */
export function target(key: string, nodes: readonly Placed[], at: number): number | null {
  const here = nodes[at];
  if (here === undefined) return null;
  if (key === "ArrowDown") return nodes[at + 1]?.column === here.column ? at + 1 : at;
  if (key === "ArrowUp") return nodes[at - 1]?.column === here.column ? at - 1 : at;
  if (key === "Home") return 0;
  if (key === "End") return nodes.length - 1;
  const step = key === "ArrowRight" ? 1 : key === "ArrowLeft" ? -1 : 0;
  if (step === 0) return null;
  const beyond = nodes.filter(({ column }) => (column - here.column) * step > 0);
  const far = ({ column }: Placed) => Math.abs(column - here.column);
  const next = Math.min(...beyond.map(far));
  const [nearest] = beyond
    .filter((node) => far(node) === next)
    .toSorted((one, other) => Math.abs(one.y - here.y) - Math.abs(other.y - here.y));
  return nearest === undefined ? at : nodes.indexOf(nearest);
}

function clipped(text: string): string {
  return text.length > 15 ? `${text.slice(0, 14)}…` : text;
}

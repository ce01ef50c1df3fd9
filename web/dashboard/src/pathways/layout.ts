import type { Edge, Graph, GraphNode } from "../api/wire";

export type Placed = GraphNode & { x: number; y: number; column: number };

export type Layout = {
  columns: readonly { name: string; x: number }[];
  nodes: readonly Placed[];
  width: number;
  height: number;
};

const COLUMN = 132;
const ROW = 30;
const LEFT = 74;
const TOP = 34;

/** Rounds of sorting each column by where its neighbours are. */
const ROUNDS = 6;

/** Tokens at the left, a column for each layer, the decision at the right. */
export function layout({ nodes, edges }: Graph): Layout {
  const layers = [...new Set(nodes.flatMap(({ layer }) => layer ?? []))].sort((a, b) => a - b);
  const hasTokens = nodes.some(({ kind }) => kind === "token");
  const hasDecision = nodes.some(({ kind }) => kind === "logit");
  const names = [
    ...(hasTokens ? ["tokens"] : []),
    ...layers.map((layer) => `layer ${layer}`),
    ...(hasDecision ? ["decision"] : []),
  ];
  const columnOf = (node: GraphNode): number => {
    if (node.kind === "token") return 0;
    if (node.kind === "logit") return names.length - 1;
    return (hasTokens ? 1 : 0) + Math.max(0, layers.indexOf(node.layer ?? layers[0] ?? 0));
  };
  const columns: GraphNode[][] = names.map(() => []);
  for (const node of nodes) columns[columnOf(node)]?.push(node);
  const order = sorted(columns, edges);
  const tallest = Math.max(1, ...order.map((column) => column.length));
  const height = TOP + tallest * ROW + 8;
  const placed = order.flatMap((column, at) => {
    const top = TOP + ((tallest - column.length) * ROW) / 2;
    return column.map((node, row) => ({
      ...node,
      column: at,
      x: LEFT + at * COLUMN,
      y: top + row * ROW + ROW / 2,
    }));
  });
  return {
    columns: names.map((name, at) => ({ name, x: LEFT + at * COLUMN })),
    nodes: placed,
    width: LEFT * 2 + Math.max(0, names.length - 1) * COLUMN,
    height,
  };
}

/**
 * Columns in an order with few crossings: each node goes where its neighbours are on average.
 * Source: Sugiyama, Tagawa and Toda 1981, barycentre method.
 */
function sorted(columns: GraphNode[][], edges: readonly Edge[]): GraphNode[][] {
  const neighbours = new Map<string, { name: string; weight: number }[]>();
  for (const { source, target, weight } of edges) {
    for (const [one, other] of [
      [source, target],
      [target, source],
    ] as const) {
      const known = neighbours.get(one) ?? [];
      known.push({ name: other, weight: Math.abs(weight) });
      neighbours.set(one, known);
    }
  }
  let order = columns;
  for (let round = 0; round < ROUNDS; round += 1) {
    const place = new Map<string, number>();
    for (const column of order) {
      column.forEach((node, at) => place.set(node.name, (at + 0.5) / column.length));
    }
    const middle = (node: GraphNode): number => {
      let sum = 0;
      let total = 0;
      for (const { name, weight } of neighbours.get(node.name) ?? []) {
        sum += (place.get(name) ?? 0.5) * (weight + 1e-6);
        total += weight + 1e-6;
      }
      return total === 0 ? 0.5 : sum / total;
    };
    order = order.map((column) => {
      const middles = new Map(column.map((node) => [node.name, middle(node)]));
      return column.toSorted(
        (one, other) => (middles.get(one.name) ?? 0) - (middles.get(other.name) ?? 0),
      );
    });
  }
  return order;
}

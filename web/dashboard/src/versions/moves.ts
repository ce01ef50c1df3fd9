import { call, modelsPath } from "../api/http";
import type { AliasAsked, Version } from "../api/wire";

/** What somebody wants to do to an alias. */
export type Move = {
  kind: "promote" | "roll-back" | "challenge" | "withdraw";
  version: Version;
  alias: string;
  /** Number the alias is to name; null takes it away. */
  number: number | null;
  /** Number it names now: if that is not so any more, nothing moves. */
  expected: number | null;
};

type Aliases = Readonly<Record<string, number>>;

/** The moves that make sense for a version, the most far-reaching first. */
export function movesOf(version: Version, aliases: Aliases): Move[] {
  const champion = aliases.champion ?? null;
  const previous = aliases.previous_champion ?? null;
  const held = version.aliases.filter((alias) => /^challenger(-\d+)?$/.test(alias));
  if (champion === version.number) return [];
  const toTop = { version, alias: "champion", number: version.number, expected: champion };
  const moves: Move[] = [
    { kind: previous === version.number ? "roll-back" : "promote", ...toTop },
    ...held.map((alias) => ({
      kind: "withdraw" as const,
      version,
      alias,
      number: null,
      expected: version.number,
    })),
  ];
  if (held.length === 0) {
    const alias = freeChallenger(aliases);
    moves.push({ kind: "challenge", version, alias, number: version.number, expected: null });
  }
  return moves;
}

/** `challenger` if it is free, else `challenger-2`, and so on. */
export function freeChallenger(aliases: Aliases): string {
  if (aliases.challenger === undefined) return "challenger";
  let place = 2;
  while (aliases[`challenger-${place}`] !== undefined) place += 1;
  return `challenger-${place}`;
}

export async function carryOut(move: Move, reason: string): Promise<void> {
  const { alias, number, expected } = move;
  const asked: AliasAsked = { model: move.version.model, number, expected, reason };
  const path = modelsPath(`/versions/aliases/${encodeURIComponent(alias)}`);
  await call(path, asked, undefined, "PUT");
}

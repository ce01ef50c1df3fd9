/**
 * Whether the server runs another version than this package, from a header of its answers.
 *
 * Versions of one minor release understand each other. Between minor releases most calls work, so
 * there is a warning, once for each version met; between major ones nothing is promised, so there is
 * an error. Servers that name no version are taken as they are.
 */
import { VersionMismatch } from "./errors.js";
import { VERSION } from "./version.js";

const VERSION_HEADER = "glassbox-version";

/** How far two versions are apart; what is no version is not apart. */
function skewOf(server: string): "none" | "minor" | "major" {
  const [own, other] = [VERSION, server].map((each) => /^v?(\d+)\.(\d+)/.exec(each));
  if (own == null || other == null) return "none";
  if (Number(own[1]) !== Number(other[1])) return "major";
  return Number(own[2]) === Number(other[2]) ? "none" : "minor";
}

/** A sentence for the error that an answer carries; empty where versions agree. */
export function skewHint(headers: Headers): string {
  const server = headers.get(VERSION_HEADER) ?? "";
  if (skewOf(server) === "none") return "";
  return (
    ` The server runs Glassbox ${server} and this client ${VERSION}: install the same version on ` +
    "both sides if that is the reason."
  );
}

/** Looks at the answers of one client. */
export class VersionWatch {
  readonly #warn: (message: string) => void;
  readonly #met = new Set<string>();

  constructor(warn: (message: string) => void = (message) => console.warn(message)) {
    this.#warn = warn;
  }

  /** Warn of a server of another minor version; throw before one of another major version. */
  look(headers: Headers): void {
    const server = headers.get(VERSION_HEADER) ?? "";
    if (this.#met.has(server)) return;
    const skew = skewOf(server);
    if (skew === "major") {
      throw new VersionMismatch(
        `The server runs Glassbox ${server} and this client ${VERSION}: they speak different ` +
          `versions of the API. Install glassbox-llm@${server} here, or upgrade the server.`,
      );
    }
    this.#met.add(server);
    if (skew === "minor") {
      this.#warn(
        `The server runs Glassbox ${server} and this client ${VERSION}: most calls work, fields ` +
          "that only one side knows are left out or refused. Install the same version on both sides.",
      );
    }
  }
}

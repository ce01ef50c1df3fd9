/** Answers that were too large to be sent: the container put them into an object store. */
import { CapacityError, IntegrityError } from "../errors.js";
import { parsed } from "../http.js";
import { objectIn } from "../problems.js";

/** Reads what lies at an `s3://` address. */
export type ReadStored = (address: string, signal?: AbortSignal) => Promise<Uint8Array>;

/**
 * The answer at an address, if it is the one that was put there.
 *
 * `said` is what came in its place, with its digest; whoever may write to the store must not be
 * able to answer for the model.
 */
export async function storedAnswer(
  address: string,
  said: Uint8Array | undefined,
  read: ReadStored | undefined,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  if (read === undefined) {
    throw new CapacityError(
      `The answer was too large to be sent and is at ${address}. Give readStored, which reads it ` +
        "from there, or ask for less at a time.",
    );
  }
  const content = await read(address, signal);
  const wanted = objectIn(parsed(new TextDecoder().decode(said)))?.sha256;
  if ((await sha256(content)) !== wanted) {
    throw new IntegrityError(`${address} is not the answer that was put there.`, {
      code: "corrupt-artifact",
    });
  }
  return content;
}

async function sha256(content: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content as BufferSource));
  return [...digest].map((each) => each.toString(16).padStart(2, "0")).join("");
}

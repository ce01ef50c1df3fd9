/**
 * What travels beside the body of InvokeEndpoint: our keys in its custom attributes.
 *
 * One header carries `key=value` pairs with commas between them, both ways. With `glassbox-path` a
 * request goes to a route of the whole server instead of the source document's own.
 */
import { UsageError } from "../errors.js";

/** Characters that they may have, ASCII only. Source: the service model of SageMaker Runtime. */
const MOST_ATTRIBUTES = 1024;

/** Largest body of a request. Source: the same, shape BodyBlob. */
export const MOST_BODY_BYTES = 6_291_456;

/** Requests that an endpoint carries: predictions; nothing that changes the server. */
export const CARRIED: ReadonlySet<string> = new Set([
  "GET /v1/models",
  "POST /v1/chat/completions",
  "POST /v1/classify",
  "POST /v1/completions",
  "POST /v1/lens",
  "POST /v1/states",
  "POST /v1/verify",
]);

/** Start of our keys; those of others are let through. */
const PREFIX = "glassbox-";

/** The attributes as one text; what is not plain in a value is percent-encoded. */
export function writeAttributes(attributes: Readonly<Record<string, string>>): string {
  const text = Object.entries(attributes)
    .map(([key, value]) => `${key}=${quoted(value)}`)
    .join(",");
  if (text.length <= MOST_ATTRIBUTES) return text;
  throw new UsageError(
    `The custom attributes have ${text.length} characters; allowed: ${MOST_ATTRIBUTES} at most.`,
    { code: "invalid-value" },
  );
}

/** Our keys in an answer's attributes. */
export function readAttributes(text: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const part of text.split(",")) {
    const at = part.indexOf("=");
    const key = part.slice(0, at).trim();
    if (at > 0 && key.startsWith(PREFIX)) found[key] = unquoted(part.slice(at + 1).trim());
  }
  return found;
}

function quoted(value: string): string {
  const plain = encodeURIComponent(value).replace(
    /[!'()*]/g,
    (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return plain.replace(/%2F/g, "/").replace(/%3A/g, ":");
}

function unquoted(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

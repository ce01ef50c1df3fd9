/**
 * What goes wrong between a program and an endpoint, in our words.
 *
 * What the container answered stays the answer it was, so that a client meets the same errors as
 * with a server of its own. Knows the errors of AWS's SDK by their names; sends nothing.
 */
import {
  AccessDenied,
  CapacityError,
  DeadlineExceeded,
  GlassboxError,
  UnknownName,
  Unreachable,
  UsageError,
} from "../errors.js";
import { brokenOff, objectIn } from "../problems.js";
import { placeOf, type Endpoint } from "./endpoint.js";

/** Seconds in which a container must have answered. Source: SageMaker, "Custom Inference Code". */
const LIMIT_S = 60;

const THROTTLED = new Set([
  "Throttling",
  "ThrottlingException",
  "TooManyRequestsException",
  "RequestLimitExceeded",
]);

const PASSING = new Set([
  "InternalDependencyException",
  "InternalFailure",
  "InternalServerException",
  "ModelNotReadyException",
  "ServiceUnavailable",
  "ServiceUnavailableException",
]);

const REFUSED = new Set([
  "AccessDenied",
  "AccessDeniedException",
  "CredentialsProviderError",
  "ExpiredToken",
  "ExpiredTokenException",
  "IncompleteSignature",
  "InvalidClientTokenId",
  "InvalidSignatureException",
  "MissingAuthenticationTokenException",
  "OptInRequired",
  "SignatureDoesNotMatch",
  "TokenProviderError",
  "UnrecognizedClientException",
]);

const NOT_REACHED = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
]);

/** What a failed call is to a client: a response that is refused, or may be repeated; or a throw. */
export function answerOf(error: unknown, endpoint: Endpoint): Response {
  if (error instanceof GlassboxError) throw error;
  const { name, message, status, fields } = described(error);
  if (name === "ModelError") return containersAnswer(fields, endpoint, message);
  if (THROTTLED.has(name) || (status === 429 && name !== "ModelNotReadyException")) {
    const advice =
      `SageMaker takes no more requests for ${endpoint.name} at present (${message}). Send fewer ` +
      "at a time, or give the endpoint more instances and the account a larger quota.";
    return problem(429, "queue-full", advice);
  }
  if (PASSING.has(name) || status >= 500) {
    const advice =
      `${endpoint.name} does not answer at present (${name}: ${message}). An endpoint that wakes ` +
      "up or is being updated needs minutes; else try again.";
    return problem(503, "capacity", advice);
  }
  throw thrown(error, endpoint, "sagemaker:InvokeEndpoint");
}

/** The error that a failed call of AWS means, where the call cannot be repeated with profit. */
export function thrown(error: unknown, endpoint: Endpoint, action: string): GlassboxError {
  if (error instanceof GlassboxError) return error;
  const { name, message, status, code } = described(error);
  const cause = error;
  if (THROTTLED.has(name)) {
    return new CapacityError(`AWS takes no more of these requests at present (${message}).`, {
      cause,
    });
  }
  if (REFUSED.has(name) || status === 401 || status === 403) {
    return new AccessDenied(
      `AWS does not let this program ask ${endpoint.name} (${name}: ${message}). Give it ` +
        `credentials ('aws configure', 'aws sso login', or a role) that may call ${action} on it.`,
      { cause },
    );
  }
  if (/not found|could not find/i.test(message) || name.startsWith("ResourceNotFound")) {
    return new UnknownName(
      `No SageMaker endpoint '${endpoint.name}' in ${endpoint.region}. SageMaker says: ${message} ` +
        "It was deleted, is still being made, or is in another account or region. 'aws sagemaker " +
        "list-endpoints' shows those there are; 'glassbox deploy sagemaker' makes one.",
      { cause },
    );
  }
  if (code != null && NOT_REACHED.has(code)) {
    return new Unreachable(
      `SageMaker cannot be reached in ${endpoint.region} (${code}). Is that a region, and does ` +
        "this machine get there (a proxy, a VPC endpoint)?",
      { cause },
    );
  }
  if (name === "TimeoutError" || code === "ETIMEDOUT") return late(endpoint, cause);
  if (status >= 500) {
    return new CapacityError(`AWS does not answer at present (${name}: ${message}). Try again.`, {
      cause,
    });
  }
  if (status >= 400) {
    return new UsageError(`AWS refuses the request to ${endpoint.name}: ${name}: ${message}`, {
      cause,
    });
  }
  return brokenOff(message, cause);
}

/** The error in the middle of a stream. */
export function streamThrown(error: unknown, endpoint: Endpoint): GlassboxError {
  const { name, message, fields } = described(error);
  if (fields.ErrorCode === "ModelInvocationTimeExceeded") return late(endpoint, error);
  if (name === "ModelStreamError" || name === "InternalStreamFailure") {
    return brokenOff(`${name}: ${message}`, error);
  }
  return thrown(error, endpoint, "sagemaker:InvokeEndpointWithResponseStream");
}

function late(endpoint: Endpoint, cause: unknown): DeadlineExceeded {
  return new DeadlineExceeded(
    `No answer from ${placeOf(endpoint)} in time. A container has ${LIMIT_S} s for each answer: ` +
      "ask for less at a time, or stream.",
    { cause },
  );
}

/** What the container answered, or what it means that it did not. */
function containersAnswer(
  fields: Record<string, unknown>,
  endpoint: Endpoint,
  said: string,
): Response {
  const status = Number(fields.OriginalStatusCode ?? 0);
  const original = fields.OriginalMessage;
  const message = typeof original === "string" && original !== "" ? original : said;
  if (status >= 400 && status < 600) return new Response(message, { status });
  if (/timed out/i.test(message)) throw late(endpoint, undefined);
  if (/payload/i.test(message) && /exceed/i.test(message)) {
    throw new CapacityError(
      `The answer of ${endpoint.name} is larger than SageMaker sends (${message}). Ask for less ` +
        "at a time, or for vectors in half precision (encoding: 'float16').",
    );
  }
  const log = fields.LogStreamArn;
  const where = typeof log === "string" ? ` Its log: ${log}.` : "";
  const advice = `The container of ${endpoint.name} went away before it answered (${message}).`;
  return problem(503, "capacity", advice + where);
}

function problem(status: number, code: string, detail: string): Response {
  return Response.json({ status, code, detail }, { status });
}

function described(error: unknown) {
  const fields = objectIn(error) ?? {};
  const metadata = objectIn(fields.$metadata);
  const cause = objectIn(fields.cause);
  const code = fields.code ?? cause?.code;
  return {
    fields,
    name: typeof fields.name === "string" ? fields.name : "",
    message: oneLine(fields.message ?? fields.Message),
    status: Number(metadata?.httpStatusCode ?? 0),
    code: typeof code === "string" ? code : undefined,
  };
}

function oneLine(text: unknown): string {
  return typeof text === "string" ? (text.trim().split("\n")[0] ?? "") : "";
}

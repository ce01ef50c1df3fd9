/** `sageMakerFetch`: how the requests of a client reach an endpoint of SageMaker. */
import {
  InvokeEndpointCommand,
  InvokeEndpointWithResponseStreamCommand,
  SageMakerRuntimeClient,
  type InvokeEndpointWithResponseStreamCommandOutput,
  type SageMakerRuntimeClientConfig,
} from "@aws-sdk/client-sagemaker-runtime";

import { UsageError } from "../errors.js";
import type { Fetch } from "../http.js";
import { CARRIED, MOST_BODY_BYTES, readAttributes, writeAttributes } from "./attributes.js";
import { answerOf, streamThrown } from "./aws_errors.js";
import { endpointOf, placeOf, type Endpoint } from "./endpoint.js";
import { storedAnswer, type ReadStored } from "./stored.js";

/** Which endpoint is asked, and how it is reached. */
export type SageMakerOptions = {
  /** Name of the endpoint. */
  endpointName: string;
  /** AWS region it is in; `us-east-1`. */
  region?: string | undefined;
  /** Variant that is to answer; without it the endpoint chooses. */
  variant?: string | undefined;
  /** Inference component that is to answer; endpoints made of components need one. */
  component?: string | undefined;
  /** For AWS's client: `credentials`, `endpoint`, `requestHandler`, … */
  aws?: Omit<SageMakerRuntimeClientConfig, "region"> | undefined;
  /** A client of AWS in place of one made here; it then repeats requests as it was told. */
  runtime?: SageMakerRuntimeClient | undefined;
  /**
   * Reads an answer that was too large to be sent (over 6 MiB) and that the endpoint put at an
   * `s3://` address; without it such an answer is an error, as is one that was changed there.
   */
  readStored?: ReadStored | undefined;
};

/** Route that a request reaches when it names none. */
export const INVOCATIONS = "/invocations";

const DEADLINE_HEADER = "x-request-timeout";

/** Headers of a request that are fields of InvokeEndpoint. */
export const SESSION_HEADER = "x-amzn-sagemaker-session-id";
export const INFERENCE_HEADER = "x-amzn-sagemaker-inference-id";

const STREAMS = ["text/event-stream", "application/x-ndjson"];

/**
 * Something that behaves like `fetch` and asks an endpoint: `GlassboxClient` with it has the same
 * calls for an endpoint as for a server of one's own.
 *
 * ```ts
 * const client = new GlassboxClient({ fetch: sageMakerFetch({ endpointName: "shadow-self" }) });
 * ```
 *
 * Carries what predicts; the rest is a `UsageError` before anything is sent.
 */
export function sageMakerFetch(options: SageMakerOptions): Fetch {
  const endpoint = endpointOf(options);
  const runtime =
    options.runtime ??
    // Repeating is our clients' business: they know how often, and what the server asked for.
    new SageMakerRuntimeClient({ maxAttempts: 1, ...options.aws, region: endpoint.region });
  const ask: Fetch = async (url, init) => {
    const { isStream, ...input } = inputOf(url, init, endpoint);
    const given = init.signal ?? undefined;
    const sent = given === undefined ? {} : { abortSignal: given };
    if (isStream) {
      // Leaving a stream early must close the connection, else the model writes on for nobody.
      const left = new AbortController();
      const leave = () => left.abort(given?.reason);
      if (given?.aborted) leave();
      given?.addEventListener("abort", leave, { once: true });
      try {
        const command = new InvokeEndpointWithResponseStreamCommand(input);
        const answer = await runtime.send(command, { abortSignal: left.signal });
        return new Response(bytesOf(answer, endpoint, left), { headers: headersOf(answer) });
      } catch (error) {
        given?.removeEventListener("abort", leave);
        return answerOf(error, endpoint);
      }
    }
    let answer;
    try {
      answer = await runtime.send(new InvokeEndpointCommand(input), sent);
    } catch (error) {
      return answerOf(error, endpoint);
    }
    const headers = headersOf(answer);
    const stored = headers.get("glassbox-location");
    if (stored == null) return new Response(answer.Body as BodyInit | undefined, { headers });
    headers.set("content-type", headers.get("glassbox-type") ?? "application/json");
    const content = await storedAnswer(stored, answer.Body, options.readStored, given);
    return new Response(content as BodyInit, { headers });
  };
  return Object.assign(ask, { place: placeOf(endpoint) });
}

/** What InvokeEndpoint takes, of a request. */
function inputOf(url: string, init: RequestInit, endpoint: Endpoint) {
  const { pathname, search } = new URL(url);
  const method = init.method ?? "GET";
  const headers = new Headers(init.headers);
  const attributes: Record<string, string> = {};
  let path = pathname + search;
  // The platform sends nothing to a container that is not well: any answer says enough.
  if (method === "GET" && (path === "/livez" || path === "/readyz")) path = "/v1/models";
  if (method !== "POST" || path !== INVOCATIONS) {
    if (!CARRIED.has(`${method} ${path}`)) {
      throw new UsageError(
        `An endpoint of SageMaker does not carry ${method} ${pathname}; it carries ` +
          `${[...CARRIED].join(", ")}. Ask a server of your own for the rest.`,
      );
    }
    attributes["glassbox-path"] = path;
    attributes["glassbox-method"] = method;
  }
  const timeout = headers.get(DEADLINE_HEADER);
  if (timeout != null) attributes["glassbox-timeout"] = timeout;
  const body = new TextEncoder().encode(typeof init.body === "string" ? init.body : "{}");
  if (body.byteLength > MOST_BODY_BYTES) {
    throw new UsageError(
      `The request has ${body.byteLength} bytes; SageMaker takes ${MOST_BODY_BYTES} at most. Send ` +
        "fewer or shorter texts at a time.",
    );
  }
  const accept = headers.get("accept") ?? "*/*";
  return {
    EndpointName: endpoint.name,
    ContentType: "application/json",
    Accept: accept,
    CustomAttributes: writeAttributes(attributes) || undefined,
    Body: body,
    TargetVariant: endpoint.variant,
    InferenceComponentName: endpoint.component,
    SessionId: headers.get(SESSION_HEADER) ?? undefined,
    InferenceId: headers.get(INFERENCE_HEADER) ?? undefined,
    isStream: STREAMS.includes(accept),
  };
}

/** The headers of an answer; what our attributes say comes back as headers. */
function headersOf(answer: {
  ContentType?: string | undefined;
  CustomAttributes?: string | undefined;
}): Headers {
  const headers = new Headers(readAttributes(answer.CustomAttributes ?? ""));
  headers.set("content-type", answer.ContentType ?? "application/json");
  return headers;
}

/** The bytes of a stream as they come. */
function bytesOf(
  answer: InvokeEndpointWithResponseStreamCommandOutput,
  endpoint: Endpoint,
  left: AbortController,
): ReadableStream<Uint8Array> {
  const events = answer.Body?.[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      try {
        const next = await events?.next();
        if (next == null || next.done) {
          controller.close();
          return;
        }
        const { PayloadPart, ModelStreamError, InternalStreamFailure } = next.value;
        const failed = ModelStreamError ?? InternalStreamFailure;
        if (failed != null) throw failed;
        controller.enqueue(PayloadPart?.Bytes ?? new Uint8Array());
      } catch (error) {
        controller.error(streamThrown(error, endpoint));
      }
    },
    cancel() {
      left.abort();
    },
  });
}

/** Endpoints that are made up, for tests of the clients before them. */
import { ShadowSelfClient, type ShadowSelfConfig } from "../src/sagemaker/index.js";

/** What a container answers. */
export const ANSWER = {
  generated_text: " Vienna",
  hidden_states: { "layer_-1": { mean: [1, 2], last_token: [3, 4], norm: 2.5 } },
  logits_entropy: 1,
  generation_probs: [0.5, 0.7],
  logits_entropy_raw: 1.25,
  truncated: false,
};

/** A body as the SDK of AWS gives it. */
export function bytes(body: unknown) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return Object.assign(new TextEncoder().encode(text), {
    transformToString: () => text,
  }) as never;
}

export function client(config: Partial<ShadowSelfConfig> = {}): ShadowSelfClient {
  return new ShadowSelfClient({ endpointName: "shadow-self", retries: { n: 1 }, ...config });
}

/** An error of AWS's SDK. */
export function failure(name: string, message: string, status: number, fields: object = {}): Error {
  const metadata = { $metadata: { httpStatusCode: status } };
  return Object.assign(new Error(message), { name, ...metadata, ...fields });
}

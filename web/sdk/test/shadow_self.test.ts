import { createHash } from "node:crypto";

import {
  InvokeEndpointCommand,
  InvokeEndpointWithResponseStreamCommand,
  SageMakerRuntimeClient,
  type InvokeEndpointWithResponseStreamCommandOutput,
} from "@aws-sdk/client-sagemaker-runtime";
import { mockClient } from "aws-sdk-client-mock";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { estimateUncertainty } from "../src/index.js";
import { ShadowSelfClient, type ShadowSelfConfig } from "../src/sagemaker/index.js";
import { halves } from "../src/sagemaker/half.js";
import { ANSWER, bytes, client } from "./mocked.js";

const runtime = mockClient(SageMakerRuntimeClient);

beforeEach(() => {
  runtime.reset();
});
afterEach(() => vi.restoreAllMocks());

function answering(body: unknown, attributes?: string): void {
  const more = attributes === undefined ? {} : { CustomAttributes: attributes };
  runtime
    .on(InvokeEndpointCommand)
    .resolves({ Body: bytes(body), ContentType: "application/json", ...more });
}

/** The n-th request as SageMaker got it. */
function sent(n = 0) {
  const { input } = runtime.commandCalls(InvokeEndpointCommand)[n]?.args[0] ?? {};
  if (input == null) throw new Error("nothing was sent");
  const body = JSON.parse(new TextDecoder().decode(input.Body as Uint8Array)) as {
    inputs: string;
    parameters: Record<string, unknown>;
  };
  return { ...input, Body: body };
}

describe("invokeWithHiddenStates", () => {
  it("asks with the source document's defaults", async () => {
    answering(ANSWER);
    await client().invokeWithHiddenStates("Where?");
    const { Body, ...input } = sent();
    expect(Body).toEqual({
      inputs: "Where?",
      parameters: {
        target_layers: [-1, -4, -8],
        max_new_tokens: 256,
        temperature: 0.7,
        return_probs: true,
      },
    });
    expect(input).toMatchObject({
      EndpointName: "shadow-self",
      ContentType: "application/json",
      Accept: "application/json",
      CustomAttributes: "glassbox-timeout=60",
    });
    const used = runtime.commandCalls(InvokeEndpointCommand)[0]
      ?.thisValue as SageMakerRuntimeClient;
    expect(await used.config.region()).toBe("us-east-1");
  });

  it("gives every field by its name, the last token's vector too", async () => {
    answering(ANSWER, "glassbox-bundle=abc,other=x,glassbox-version=0.1.0");
    expect(await client().invokeWithHiddenStates("Where?")).toEqual({
      generatedText: " Vienna",
      hiddenStates: { "layer_-1": { mean: [1, 2], lastToken: [3, 4], norm: 2.5 } },
      logitsEntropy: 1,
      generationProbs: [0.5, 0.7],
      logitsEntropyRaw: 1.25,
      truncated: false,
      adapterDigest: undefined,
      bundleDigest: "abc",
    });
  });

  it("keeps a temperature of 0 and no layers, of the client and of the call", async () => {
    answering({ ...ANSWER, hidden_states: {} });
    await client({ temperature: 0 }).invokeWithHiddenStates("x", { targetLayers: [] });
    await client({ temperature: 1 }).invokeWithHiddenStates("x", { temperature: 0 });
    expect(sent(0).Body.parameters).toMatchObject({ temperature: 0, target_layers: [] });
    expect(sent(1).Body.parameters).toMatchObject({ temperature: 0 });
  });

  it("names the adapter, and takes no answer for its own that does not say so", async () => {
    answering({ ...ANSWER, adapter_digest: "d1" });
    const one = client({ adapter: "support" });
    expect((await one.invokeWithHiddenStates("x")).adapterDigest).toBe("d1");
    await one.invokeWithHiddenStates("x", { adapter: "sales" });
    expect(sent(0).Body.parameters.adapter).toBe("support");
    expect(sent(1).Body.parameters.adapter).toBe("sales");
    answering(ANSWER);
    await expect(one.invokeWithHiddenStates("x")).rejects.toMatchObject({
      name: "IntegrityError",
      message: expect.stringMatching(/did not say that the adapter 'support' answered/) as string,
    });
  });

  it("hands on variant, component, session and the request's name", async () => {
    answering(ANSWER);
    await client({ variant: "shadow", component: "base" }).invokeWithHiddenStates("x", {
      sessionId: "s1",
      inferenceId: "i1",
    });
    expect(sent()).toMatchObject({
      TargetVariant: "shadow",
      InferenceComponentName: "base",
      SessionId: "s1",
      InferenceId: "i1",
    });
  });

  it("reads vectors in half precision", async () => {
    // numpy.save of float16 [1, -0.5, 65504, 5.96e-08, inf], without pickle.
    const header = "{'descr': '<f2', 'fortran_order': False, 'shape': (5,), }".padEnd(117) + "\n";
    const head = Uint8Array.of(0x93, 78, 85, 77, 80, 89, 1, 0, header.length, 0);
    const values = Uint16Array.of(0x3c00, 0xb800, 0x7bff, 0x0001, 0x7c00);
    const file = Buffer.concat([head, Buffer.from(header), Buffer.from(values.buffer)]);
    const text = file.toString("base64");
    const states = { "layer_-1": { mean: text, last_token: text, norm: 1 } };
    answering({ ...ANSWER, hidden_states: states });
    const result = await client().invokeWithHiddenStates("x", { encoding: "float16" });
    expect(sent().Body.parameters.encoding).toBe("float16");
    expect(result.hiddenStates["layer_-1"]?.lastToken).toEqual([
      1,
      -0.5,
      65504,
      2 ** -24,
      Infinity,
    ]);
    expect(() => halves("?")).toThrow(/no base64/);
    expect(() => halves("AAAA")).toThrow(/no .npy file/);
    expect(() => halves(file.subarray(0, -2).toString("base64"))).toThrow(/cut short/);
    const wide = Buffer.from(file).fill("4", file.indexOf("<f2") + 2, file.indexOf("<f2") + 3);
    expect(() => halves(wide.toString("base64"))).toThrow(/no float16/);
  });

  it("reads an answer of a container that says no more than the source document", async () => {
    const { logits_entropy_raw: _, truncated: __, ...older } = ANSWER;
    answering(older);
    expect(await client().invokeWithHiddenStates("x")).toMatchObject({
      generatedText: " Vienna",
      logitsEntropyRaw: undefined,
    });
  });

  it.each([
    ["<html>", /no JSON/],
    [[], /not the fields of an invocation/],
    [{ ...ANSWER, logits_entropy: "1" }, /not the fields of an invocation/],
    [{ ...ANSWER, hidden_states: { "layer_-1": { mean: [1] } } }, /layer_-1 has not the fields/],
  ])("of something else is an IntegrityError: %j", async (body, words) => {
    answering(body);
    await expect(client().invokeWithHiddenStates("x")).rejects.toThrow(words);
  });

  it("refuses what SageMaker does not take, before anything is sent", async () => {
    await expect(client().invokeWithHiddenStates("")).rejects.toThrow(/prompt is empty/);
    await expect(client().invokeWithHiddenStates("x".repeat(6_291_456))).rejects.toThrow(
      /SageMaker takes 6291456 at most/,
    );
    expect(runtime.calls()).toHaveLength(0);
  });

  it("reads a stored answer where it is told how, and says where it is elsewhere", async () => {
    const at = "glassbox-location=s3://bucket/a%2Cb,glassbox-type=application/json";
    const sha256 = createHash("sha256").update(bytes(ANSWER)).digest("hex");
    answering({ location: "s3://bucket/a,b", sha256 }, at);
    await expect(client().invokeWithHiddenStates("x")).rejects.toMatchObject({
      name: "CapacityError",
      message: expect.stringContaining("is at s3://bucket/a,b. Give readStored") as string,
    });
    const readStored = vi.fn(() => Promise.resolve(bytes(ANSWER) as Uint8Array));
    const found = await client({ readStored }).invokeWithHiddenStates("x");
    expect(found.generatedText).toBe(" Vienna");
    expect(readStored).toHaveBeenCalledWith("s3://bucket/a,b", expect.any(AbortSignal));
    const altered = () =>
      Promise.resolve(bytes({ ...ANSWER, generated_text: " Rome" }) as Uint8Array);
    await expect(client({ readStored: altered }).invokeWithHiddenStates("x")).rejects.toMatchObject(
      { name: "IntegrityError", code: "corrupt-artifact" },
    );
  });
});

describe("streamWithHiddenStates", () => {
  const stream = (...parts: unknown[]) => {
    async function* body() {
      for (const each of parts) {
        await Promise.resolve();
        yield typeof each === "string"
          ? { PayloadPart: { Bytes: new TextEncoder().encode(each) } }
          : each;
      }
    }
    runtime.on(InvokeEndpointWithResponseStreamCommand).resolves({
      Body: body(),
      ContentType: "application/x-ndjson",
    } as unknown as InvokeEndpointWithResponseStreamCommandOutput);
  };
  const read = async () => {
    const found = [];
    for await (const piece of client().streamWithHiddenStates("x")) found.push(piece);
    return found;
  };

  it("gives pieces however SageMaker cuts them, the last with all of it", async () => {
    const first = JSON.stringify({ text: " Vié", generation_probs: [0.5] });
    const last = JSON.stringify({ final: ANSWER });
    const text = `${first}\n\n{"text":"nna"}\n${last}\n`;
    stream(text.slice(0, 9), text.slice(9, 30), text.slice(30));
    expect(await read()).toEqual([
      { text: " Vié", generationProbs: [0.5] },
      { text: "nna", generationProbs: [] },
      {
        text: "",
        generationProbs: [],
        whole: expect.objectContaining({
          generatedText: " Vienna",
          hiddenStates: { "layer_-1": { mean: [1, 2], lastToken: [3, 4], norm: 2.5 } },
        }) as unknown,
      },
    ]);
    const [call] = runtime.commandCalls(InvokeEndpointWithResponseStreamCommand);
    expect(call?.args[0].input).toMatchObject({
      EndpointName: "shadow-self",
      Accept: "application/x-ndjson",
      CustomAttributes: undefined,
    });
  });

  it.each([
    [['{"text": "a"}\n'], "Unreachable", /ended before the text did/],
    [['{"error": {"code": "queue-full", "message": "Full."}}\n'], "QueueFull", /^Full\.$/],
    [["{\n"], "IntegrityError", /no JSON/],
    [
      ['{"text": "a"}\n', { ModelStreamError: { name: "ModelStreamError", message: "cut" } }],
      "Unreachable",
      /ModelStreamError: cut/,
    ],
    [
      [
        {
          ModelStreamError: {
            name: "ModelStreamError",
            message: "late",
            ErrorCode: "ModelInvocationTimeExceeded",
          },
        },
      ],
      "DeadlineExceeded",
      /60 s/,
    ],
    [
      [{ InternalStreamFailure: { name: "InternalStreamFailure", message: "x" } }],
      "Unreachable",
      /InternalStreamFailure/,
    ],
  ] as const)("that does not come to its end is an error: %j", async (parts, kind, words) => {
    stream(...parts);
    await expect(read()).rejects.toMatchObject({
      name: kind,
      message: expect.stringMatching(words) as string,
    });
  });
});

describe("estimateUncertainty", () => {
  it.each([
    [1, [0.5, 0.7], 0.3],
    [0, [1], 0],
    [5, [0], 1],
    [50, [0, 0], 1],
    [0, [], 0.25],
    [2.5, [0.25], 0.625],
  ])("of entropy %f and probabilities %j is %f", (logitsEntropy, generationProbs, uncertainty) => {
    expect(estimateUncertainty({ logitsEntropy, generationProbs })).toBeCloseTo(uncertainty, 12);
    expect(client().estimateUncertainty({ logitsEntropy, generationProbs })).toBeCloseTo(
      uncertainty,
      12,
    );
  });

  it("rises with the entropy and falls with the probabilities", () => {
    const at = (entropy: number, prob: number) =>
      estimateUncertainty({ logitsEntropy: entropy, generationProbs: [prob, prob] });
    for (let step = 0; step < 50; step++) {
      const entropy = step / 12;
      expect(at(entropy + 0.1, 0.5)).toBeGreaterThan(at(entropy, 0.5));
      expect(at(entropy, step / 50)).toBeGreaterThan(at(entropy, (step + 1) / 50));
    }
  });

  it.each([
    [-1, [0.5]],
    [NaN, [0.5]],
    [1, [1.5]],
    [1, [NaN]],
  ])("refuses %f and %j", (logitsEntropy, generationProbs) => {
    expect(() => estimateUncertainty({ logitsEntropy, generationProbs })).toThrow(/allowed/);
  });
});

describe("what a client is made with", () => {
  it.each([
    [{}, /endpointName is left out/],
    [{ endpointName: "" }, /endpointName is ""/],
    [{ endpointName: "a_b" }, /letters, digits and single dashes/],
    [{ endpointName: "a", region: "Europe" }, /region is "Europe"; allowed: an AWS region/],
    [{ endpointName: "a", timeoutS: -1 }, /timeoutS is -1/],
  ])("%j is refused with what is allowed", (config, words) => {
    expect(() => new ShadowSelfClient(config as ShadowSelfConfig)).toThrow(words);
  });
});

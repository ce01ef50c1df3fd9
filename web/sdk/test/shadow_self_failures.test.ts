import { InvokeEndpointCommand, SageMakerRuntimeClient } from "@aws-sdk/client-sagemaker-runtime";
import { DescribeEndpointCommand, SageMakerClient } from "@aws-sdk/client-sagemaker";
import { mockClient } from "aws-sdk-client-mock";
import { beforeEach, describe, expect, it, vi } from "vitest";

import { ANSWER, bytes, client, failure } from "./mocked.js";

const runtime = mockClient(SageMakerRuntimeClient);
const control = mockClient(SageMakerClient);

beforeEach(() => {
  runtime.reset();
  control.reset();
});

describe("a failure", () => {
  it.each([
    [
      "ValidationError",
      "Endpoint shadow-self of account 1 not found.",
      400,
      {},
      "UnknownName",
      /No SageMaker endpoint 'shadow-self' in us-east-1.*deleted.*glassbox deploy/,
    ],
    ["ValidationError", "1 validation error detected", 400, {}, "UsageError", /AWS refuses/],
    ["AccessDeniedException", "not authorized", 403, {}, "AccessDenied", /aws configure/],
    ["ExpiredTokenException", "expired", 403, {}, "AccessDenied", /aws sso login/],
    [
      "CredentialsProviderError",
      "Could not load credentials from any providers",
      0,
      {},
      "AccessDenied",
      /Could not load credentials.*sagemaker:InvokeEndpoint/,
    ],
    [
      "Error",
      "getaddrinfo ENOTFOUND runtime",
      0,
      { code: "ENOTFOUND" },
      "Unreachable",
      /cannot be reached in us-east-1 \(ENOTFOUND\)\. Is that a region/,
    ],
    ["TimeoutError", "Connection timed out after 1 ms", 0, {}, "DeadlineExceeded", /60 s/],
    ["Error", "socket hang up", 0, { code: "ECONNRESET" }, "Unreachable", /broke off \(socket/],
  ] as const)("%s (%s) is not repeated and is %s", async (...given) => {
    const [name, message, status, fields, kind, words] = given;
    runtime.on(InvokeEndpointCommand).rejects(failure(name, message, status, fields));
    const rejected = expect(client().invokeWithHiddenStates("x")).rejects;
    await rejected.toMatchObject({ name: kind, message: expect.stringMatching(words) as string });
    expect(runtime.calls()).toHaveLength(1);
  });

  it.each([
    ["ThrottlingException", "Rate exceeded", 400, {}, "QueueFull", /larger quota/],
    ["ModelNotReadyException", "loading", 429, {}, "CapacityError", /needs minutes/],
    ["ServiceUnavailable", "busy", 503, {}, "CapacityError", /try again/],
    ["InternalFailure", "oops", 500, {}, "CapacityError", /InternalFailure: oops/],
    [
      "ModelError",
      "no answer",
      424,
      { LogStreamArn: "arn:log" },
      "CapacityError",
      /went away.*no answer.*Its log: arn:log/,
    ],
    [
      "ModelError",
      "",
      424,
      {
        OriginalStatusCode: 429,
        OriginalMessage: '{"code": "queue-full", "detail": "Full.", "retry_after_s": 0.01}',
      },
      "QueueFull",
      /^Full\.$/,
    ],
    [
      "ModelError",
      "",
      424,
      { OriginalStatusCode: 503, OriginalMessage: "no" },
      "CapacityError",
      /answered 503: no/,
    ],
  ] as const)("%s (%s) is repeated and then %s", async (...given) => {
    const [name, message, status, fields, kind, words] = given;
    runtime.on(InvokeEndpointCommand).rejects(failure(name, message, status, fields));
    const rejected = expect(client().invokeWithHiddenStates("x")).rejects;
    await rejected.toMatchObject({ name: kind, message: expect.stringMatching(words) as string });
    expect(runtime.calls()).toHaveLength(2);
  });

  it("that passes is repeated without a word", async () => {
    runtime
      .on(InvokeEndpointCommand)
      .rejectsOnce(failure("ThrottlingException", "Rate exceeded", 400))
      .resolves({ Body: bytes(ANSWER) });
    expect((await client().invokeWithHiddenStates("x")).generatedText).toBe(" Vienna");
  });

  it.each([
    ["Your invocation timed out while waiting for a response", "DeadlineExceeded", /60 s/],
    ["Response payload size exceeded", "CapacityError", /encoding: 'float16'/],
  ])("of the container (%s) is %s", async (message, kind, words) => {
    runtime.on(InvokeEndpointCommand).rejects(failure("ModelError", message, 424));
    await expect(client().invokeWithHiddenStates("x")).rejects.toMatchObject({
      name: kind,
      message: expect.stringMatching(words) as string,
    });
  });

  it("of the container itself is the error it was", async () => {
    const body = { code: "invalid-hook-point", detail: "No layer -99.", request_id: "r" };
    const fields = { OriginalStatusCode: 400, OriginalMessage: JSON.stringify(body) };
    runtime.on(InvokeEndpointCommand).rejects(failure("ModelError", "x", 424, fields));
    await expect(client().invokeWithHiddenStates("x")).rejects.toMatchObject({
      name: "UsageError",
      code: "invalid-hook-point",
      status: 400,
      message: "No layer -99.",
      requestId: "r",
    });
  });

  it("of the caller's making throws the caller's reason", async () => {
    const signal = AbortSignal.abort(new Error("never mind"));
    runtime.on(InvokeEndpointCommand).rejects(failure("AbortError", "Request aborted", 0));
    await expect(client().invokeWithHiddenStates("x", { signal })).rejects.toThrow("never mind");
  });
});

describe("getEndpointStatus", () => {
  it("is what SageMaker says now", async () => {
    control.on(DescribeEndpointCommand).resolves({
      EndpointName: "shadow-self",
      EndpointStatus: "Updating",
      EndpointConfigName: "shadow-self-2",
      ProductionVariants: [
        {
          VariantName: "primary",
          CurrentInstanceCount: 5,
          DesiredInstanceCount: 7,
          CurrentWeight: 1,
        },
        {
          VariantName: "canary",
          CurrentInstanceCount: 1,
          DesiredInstanceCount: 1,
          CurrentWeight: 0,
        },
        { VariantName: "serverless" },
      ],
    });
    const status = await client({ region: "eu-west-1" }).getEndpointStatus();
    expect(status).toMatchObject({
      status: "Updating",
      instanceCount: 6,
      desiredInstanceCount: 8,
      configName: "shadow-self-2",
      failureReason: undefined,
    });
    expect(status.variants[1]).toEqual({
      name: "canary",
      instanceCount: 1,
      desiredInstanceCount: 1,
      weight: 0,
    });
    const [call] = control.commandCalls(DescribeEndpointCommand);
    expect(call?.args[0].input).toEqual({ EndpointName: "shadow-self" });
    expect(await (call?.thisValue as SageMakerClient).config.region()).toBe("eu-west-1");
  });

  it.each([
    ["ValidationException", 'Could not find endpoint "arn:x".', 400, "UnknownName", /deleted/],
    ["ThrottlingException", "Rate exceeded", 400, "CapacityError", /Rate exceeded/],
    ["AccessDeniedException", "no", 403, "AccessDenied", /sagemaker:DescribeEndpoint/],
  ])("%s (%s) is said", async (name, message, status, kind, words) => {
    control.on(DescribeEndpointCommand).rejects(failure(name, message, status));
    await expect(client().getEndpointStatus()).rejects.toMatchObject({
      name: kind,
      message: expect.stringMatching(words) as string,
    });
  });

  it("asks the client of AWS that it was given", async () => {
    const send = vi.fn(() =>
      Promise.resolve({ EndpointStatus: "Failed", FailureReason: "no quota" }),
    );
    expect(await client({ control: { send } }).getEndpointStatus()).toMatchObject({
      status: "Failed",
      instanceCount: 0,
      failureReason: "no quota",
    });
    const signal = AbortSignal.abort(new Error("enough"));
    send.mockRejectedValue(new Error("aborted"));
    await expect(client({ control: { send } }).getEndpointStatus({ signal })).rejects.toThrow(
      "enough",
    );
  });
});

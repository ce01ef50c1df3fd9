/** How an endpoint does: what SageMaker itself says of it. */
import { DependencyMissing, GlassboxError } from "../errors.js";
import { thrown } from "./aws_errors.js";
import type { Endpoint } from "./endpoint.js";

/** One variant of an endpoint. */
export type VariantStatus = {
  name: string;
  /** Instances that run now. */
  instanceCount: number;
  /** Instances that there are to be. */
  desiredInstanceCount: number;
  /** Share of the requests, in [0, 1], before weights are made even; undefined where unsaid. */
  weight: number | undefined;
};

/** How an endpoint does. */
export type EndpointStatus = {
  /** `InService`, `Creating`, `Updating`, `Failed`, … */
  status: string;
  /** Instances that run now, over all variants. */
  instanceCount: number;
  /** Instances that there are to be, over all variants. */
  desiredInstanceCount: number;
  /** Name of the configuration that it runs. */
  configName: string | undefined;
  /** Why it failed, where it did. */
  failureReason: string | undefined;
  variants: VariantStatus[];
};

/** What is needed of AWS's SageMakerClient: it fits, and so does a stand-in. */
export type Control = {
  send(command: object, options?: { abortSignal?: AbortSignal }): Promise<unknown>;
};

type Described = {
  EndpointStatus?: string;
  EndpointConfigName?: string;
  FailureReason?: string;
  ProductionVariants?: {
    VariantName?: string;
    CurrentInstanceCount?: number;
    DesiredInstanceCount?: number;
    CurrentWeight?: number;
  }[];
};

/** Ask SageMaker (DescribeEndpoint). */
export async function statusOf(
  endpoint: Endpoint,
  given: Control | undefined,
  aws: object,
  signal: AbortSignal | undefined,
): Promise<EndpointStatus> {
  const { DescribeEndpointCommand, SageMakerClient } = await controlPlane();
  const control: Control = given ?? new SageMakerClient({ ...aws, region: endpoint.region });
  let found: Described;
  try {
    const command = new DescribeEndpointCommand({ EndpointName: endpoint.name });
    const sent = signal === undefined ? {} : { abortSignal: signal };
    found = (await control.send(command, sent)) as Described;
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw thrown(error, endpoint, "sagemaker:DescribeEndpoint");
  }
  const variants = (found.ProductionVariants ?? []).map((each) => ({
    name: each.VariantName ?? "",
    instanceCount: each.CurrentInstanceCount ?? 0,
    desiredInstanceCount: each.DesiredInstanceCount ?? 0,
    weight: each.CurrentWeight,
  }));
  const sum = (key: "instanceCount" | "desiredInstanceCount") =>
    variants.reduce((total, each) => total + each[key], 0);
  return {
    status: found.EndpointStatus ?? "Unknown",
    instanceCount: sum("instanceCount"),
    desiredInstanceCount: sum("desiredInstanceCount"),
    configName: found.EndpointConfigName,
    failureReason: found.FailureReason,
    variants,
  };
}

async function controlPlane() {
  try {
    return await import("@aws-sdk/client-sagemaker");
  } catch (error) {
    if (error instanceof GlassboxError) throw error;
    throw new DependencyMissing(
      "getEndpointStatus needs the package @aws-sdk/client-sagemaker: npm install " +
        "@aws-sdk/client-sagemaker",
      { cause: error },
    );
  }
}

/** Which endpoint is meant, and how it is reached. */
import { UsageError } from "../errors.js";

/** Region where none is given. Source: the source document's client. */
export const DEFAULT_REGION = "us-east-1";

/** An endpoint, and which part of it is to answer. */
export type Endpoint = {
  /** Its name. */
  name: string;
  /** AWS region it is in. */
  region: string;
  /** Variant that is to answer; without it the endpoint chooses. */
  variant?: string | undefined;
  /** Inference component that is to answer; endpoints made of components need one. */
  component?: string | undefined;
};

/** Source: the service model of SageMaker Runtime, shape EndpointName. */
const NAME = /^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$/;

const REGION = /^[a-z]{2}(-[a-z]+)+-\d+$/;

/** The endpoint that a name and a region mean; throws where they cannot. */
export function endpointOf(given: {
  endpointName: string;
  region?: string | undefined;
  variant?: string | undefined;
  component?: string | undefined;
}): Endpoint {
  const { endpointName: name, region = DEFAULT_REGION, variant, component } = given;
  // Programs in plain JavaScript may leave it out.
  if (typeof name !== "string" || !NAME.test(name)) {
    throw wrong("endpointName", name, "a name of 1 to 63 letters, digits and single dashes");
  }
  if (!REGION.test(region)) throw wrong("region", region, "an AWS region such as eu-west-1");
  return { name, region, variant, component };
}

/** An endpoint as messages show it. */
export function placeOf({ name, region }: Endpoint): string {
  return `sagemaker://${name}?region=${region}`;
}

function wrong(what: string, value: unknown, allowed: string): UsageError {
  const shown = value === undefined ? "left out" : JSON.stringify(value);
  return new UsageError(`${what} is ${shown}; allowed: ${allowed}.`, { code: "invalid-value" });
}

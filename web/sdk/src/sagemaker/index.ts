/** Endpoints of Amazon SageMaker; needs the package `@aws-sdk/client-sagemaker-runtime`. */
export { DEFAULT_REGION } from "./endpoint.js";
export { sageMakerFetch } from "./fetch.js";
export type { SageMakerOptions } from "./fetch.js";
export { ShadowSelfClient } from "./shadow_self.js";
export type {
  HiddenStatePiece,
  HiddenStateResult,
  InvokeCallOptions,
  InvokeOptions,
  PooledState,
  ShadowSelfConfig,
} from "./shadow_self.js";
export type { Control, EndpointStatus, VariantStatus } from "./status.js";

# One endpoint that answers with a Glassbox bundle, and what grows, watches and bills it.
#
# Two runs make it: the first without `image_digest` makes repository, bucket, key and role; then the image and the
# bundle are put there; the second one makes the endpoint. docs/how-to/deploy-with-terraform.md has every step.

locals {
  has_endpoint = var.image_digest != null
  variant_name = "primary"
}

module "serving" {
  source = "./modules/serving"

  name                = var.name
  variant_name        = local.variant_name
  image_digest        = var.image_digest
  bundle_key          = var.bundle_key
  shadow              = var.shadow
  instance_type       = var.instance_type
  initial_instances   = var.initial_instances
  environment         = var.environment
  adapters_from_store = var.adapters_from_store
  vpc                 = var.vpc
  kms_key_arn         = var.kms_key_arn
  access_log_bucket   = var.access_log_bucket
  log_retention_days  = var.log_retention_days
  update_policy       = var.update_policy
  rollback_alarms     = module.operations.rollback_alarms
}

module "operations" {
  source = "./modules/operations"

  # The name is known before the endpoint is: the alarms stand before it, so that the first update can already roll
  # back by them. Only scaling waits for the endpoint itself.
  name               = var.name
  variant_name       = local.variant_name
  endpoint           = one(module.serving.endpoint_names)
  has_endpoint       = local.has_endpoint
  min_instances      = var.min_instances
  max_instances      = var.max_instances
  scaling_metric     = var.scaling_metric
  concurrency_target = var.concurrency_target
  gpu_target_percent = var.gpu_target_percent
  p99_limit_us       = var.p99_limit_us
  alarm_emails       = var.alarm_emails
  monthly_budget_usd = var.monthly_budget_usd
  kms_key_arn        = module.serving.kms_key_arn
}

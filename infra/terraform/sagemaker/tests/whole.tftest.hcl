# The whole stack against a pretended AWS: no account, no network. `terraform test`.

mock_provider "aws" {
  source = "./tests/pretended"
}

variables {
  image_digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  bundle_key   = "bundles/support-0123456789ab.tar.gz"
}

run "first_without_an_endpoint" {
  variables {
    image_digest = null
    bundle_key   = null
  }

  assert {
    condition     = output.endpoint_name == null && length(module.serving.models) == 0
    error_message = "Without an image there is no endpoint."
  }

  assert {
    condition     = output.bucket == "glassbox-123456789012-us-east-1"
    error_message = "The bucket is there before the endpoint is, so that a bundle can be put into it."
  }

  assert {
    condition     = output.repository_url != null && output.execution_role_arn != null
    error_message = "So are repository and role."
  }
}

run "then_with_one" {
  assert {
    condition     = output.endpoint_name == "glassbox"
    error_message = "The endpoint has the deployment's name."
  }

  assert {
    condition     = endswith(output.dashboard_url, "region=us-east-1#dashboards:name=glassbox")
    error_message = "The dashboard's address names region and dashboard."
  }
}

# What is refused, several at a time: variables are looked at one by one.

run "what_no_variable_can_be" {
  command = plan

  variables {
    name               = "Shadow_Self"
    region             = "Frankfurt"
    image_digest       = "latest"
    instance_type      = "g5"
    environment        = { GLASSBOX_API_KEY = "gb_secret" }
    tags               = { "glassbox:deployment" = "other" }
    kms_key_arn        = "alias/ours"
    p99_limit_us       = 500
    scaling_metric     = "invocations"
    concurrency_target = 0
    gpu_target_percent = 0
    log_retention_days = 2
    update_policy      = "all_at_once"
    min_instances      = 0
    max_instances      = 5
    vpc                = { vpc_id = "vpc-1", subnet_ids = ["subnet-1"] }
    shadow             = { bundle_key = "bundles/new.tar.gz", share = 1.5 }
    alarm_emails       = ["nobody"]
  }

  expect_failures = [
    var.name, var.region, var.image_digest, var.instance_type, var.environment, var.tags,
    var.kms_key_arn, var.p99_limit_us, var.scaling_metric, var.concurrency_target, var.gpu_target_percent,
    var.log_retention_days, var.update_policy, var.min_instances, var.vpc, var.shadow, var.alarm_emails,
  ]
}

run "what_does_not_go_together" {
  command = plan

  variables {
    bundle_key         = null
    initial_instances  = 4
    environment        = { GLASSBOX_STORAGE__URL = "postgresql://me:secret@db/glassbox" }
    monthly_budget_usd = 6000
  }

  expect_failures = [var.bundle_key, var.initial_instances, var.environment, var.monthly_budget_usd]
}

run "fewer_at_most_than_at_least_and_others_variables" {
  command = plan

  variables {
    max_instances = 4
    bundle_key    = "bundles/support.zip"
    environment   = { HF_HOME = "/tmp" }
  }

  expect_failures = [var.max_instances, var.bundle_key, var.environment]
}

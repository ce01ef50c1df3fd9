# Model, configuration, endpoint. Models and configurations cannot be changed, so their names hold a digest of what
# they are made of: something else is another name, the new one is there before the old one goes, and the endpoint
# moves from one to the other.

locals {
  has_endpoint = var.image_digest != null
  has_shadow   = local.has_endpoint && var.shadow != null

  settings = merge(
    var.adapters_from_store ? { GLASSBOX_ENGINE__ADAPTER_URL_PREFIX = "s3://${local.bucket}/adapters/" } : {},
    var.adapters_from_store ? { GLASSBOX_SERVER__LARGE_ANSWERS = "s3://${local.bucket}/answers/" } : {},
    var.environment,
  )

  # What each of the two variants answers with.
  parts = local.has_endpoint ? merge(
    { (var.variant_name) = { image = var.image_digest, key = var.bundle_key } },
    local.has_shadow ? {
      shadow = { image = coalesce(var.shadow.image_digest, var.image_digest), key = var.shadow.bundle_key }
    } : {},
  ) : {}

  model_names = {
    for variant, part in local.parts : variant => join("-", [
      var.name, variant,
      substr(sha256(jsonencode([part, local.settings, var.vpc, var.adapters_from_store])), 0, 10),
    ])
  }

  configuration = [local.model_names, var.instance_type, var.initial_instances, var.shadow]
}

resource "aws_cloudwatch_log_group" "this" {
  # SageMaker would make it itself: in the clear, and for ever.
  name              = local.log_group
  retention_in_days = var.log_retention_days
  kms_key_id        = local.kms_key_arn
}

resource "aws_sagemaker_model" "this" {
  #checkov:skip=CKV_AWS_370:Isolated unless requests may name adapters in the bucket, for which the container needs the network.
  for_each = local.parts

  name                     = local.model_names[each.key]
  execution_role_arn       = aws_iam_role.execution.arn
  enable_network_isolation = !var.adapters_from_store

  primary_container {
    image       = "${aws_ecr_repository.this.repository_url}@${each.value.image}"
    mode        = "SingleModel"
    environment = local.settings

    model_data_source {
      s3_data_source {
        s3_uri           = "s3://${aws_s3_bucket.this.id}/${each.value.key}"
        s3_data_type     = endswith(each.value.key, "/") ? "S3Prefix" : "S3Object"
        compression_type = endswith(each.value.key, "/") ? "None" : "Gzip"
      }
    }
  }

  dynamic "vpc_config" {
    for_each = var.vpc == null ? [] : [var.vpc]

    content {
      subnets            = vpc_config.value.subnet_ids
      security_group_ids = local.security_groups
    }
  }

  depends_on = [aws_iam_role_policy.execution]

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_sagemaker_endpoint_configuration" "this" {
  #checkov:skip=CKV_AWS_98:Machines with a local disk, ml.g5 among them, encrypt it in hardware, and SageMaker refuses a key for them; others get the key.
  #checkov:skip=CKV_AWS_372:This is about copies of the captured requests; nothing is captured.
  count = local.has_endpoint ? 1 : 0

  name        = "${var.name}-${substr(sha256(jsonencode(local.configuration)), 0, 10)}"
  kms_key_arn = local.has_local_disk ? null : local.kms_key_arn

  production_variants {
    variant_name                                      = var.variant_name
    model_name                                        = aws_sagemaker_model.this[var.variant_name].name
    instance_type                                     = var.instance_type
    initial_instance_count                            = var.initial_instances
    initial_variant_weight                            = 1
    model_data_download_timeout_in_seconds            = 1800
    container_startup_health_check_timeout_in_seconds = 900

    # Requests differ in length by orders of magnitude: whoever has the fewest gets the next.
    routing_config {
      routing_strategy = "LEAST_OUTSTANDING_REQUESTS"
    }
  }

  dynamic "shadow_production_variants" {
    for_each = local.has_shadow ? [var.shadow] : []

    content {
      variant_name                                      = "shadow"
      model_name                                        = aws_sagemaker_model.this["shadow"].name
      instance_type                                     = var.instance_type
      initial_instance_count                            = shadow_production_variants.value.initial_instances
      initial_variant_weight                            = shadow_production_variants.value.share
      model_data_download_timeout_in_seconds            = 1800
      container_startup_health_check_timeout_in_seconds = 900
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  # Source: Amazon SageMaker API, CreateEndpointConfig, KmsKeyId: refused for instances with local storage.
  has_local_disk = can(regex("^ml\\.(g4dn|g5|g6e?|gr6|p3dn|p4de?|p5(e|en)?|trn1n?|trn2|[cmr][5-8][a-z]*d[a-z]*)\\.", var.instance_type))
}

resource "aws_sagemaker_endpoint" "this" {
  count = local.has_endpoint ? 1 : 0

  name                 = var.name
  endpoint_config_name = aws_sagemaker_endpoint_configuration.this[0].name

  deployment_config {
    dynamic "rolling_update_policy" {
      for_each = var.update_policy == "rolling" ? [1] : []

      content {
        wait_interval_in_seconds             = 300
        maximum_execution_timeout_in_seconds = 14400

        maximum_batch_size {
          type  = "CAPACITY_PERCENT"
          value = 20
        }

        rollback_maximum_batch_size {
          type  = "CAPACITY_PERCENT"
          value = 100
        }
      }
    }

    dynamic "blue_green_update_policy" {
      for_each = var.update_policy == "blue-green" ? [1] : []

      content {
        termination_wait_in_seconds          = 600
        maximum_execution_timeout_in_seconds = 7200

        traffic_routing_configuration {
          type                     = "CANARY"
          wait_interval_in_seconds = 600

          canary_size {
            type  = "CAPACITY_PERCENT"
            value = 10
          }
        }
      }
    }

    auto_rollback_configuration {
      dynamic "alarms" {
        for_each = toset(var.rollback_alarms)

        content {
          alarm_name = alarms.value
        }
      }
    }
  }

  depends_on = [aws_cloudwatch_log_group.this]

  lifecycle {
    # The provider would remove and make the endpoint anew, with nobody answering meanwhile, because of another alarm.
    ignore_changes = [deployment_config[0].auto_rollback_configuration]
  }
}

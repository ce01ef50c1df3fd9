# The module that answers, by itself. Every run starts the provider anew, so each looks at much.

mock_provider "aws" {
  source = "./tests/pretended"
}

variables {
  name                = "glassbox"
  variant_name        = "primary"
  image_digest        = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  bundle_key          = "bundles/support-0123456789ab.tar.gz"
  shadow              = null
  instance_type       = "ml.g5.2xlarge"
  initial_instances   = 5
  environment         = { GLASSBOX_ENGINE__BATCH_TOKENS = "4096" }
  adapters_from_store = true
  vpc                 = null
  kms_key_arn         = null
  access_log_bucket   = null
  log_retention_days  = 365
  update_policy       = "rolling"
  rollback_alarms     = ["glassbox-p99-latency", "glassbox-server-errors"]
}

run "what_it_is_unless_told_otherwise" {
  module {
    source = "./modules/serving"
  }

  assert {
    condition     = aws_sagemaker_endpoint_configuration.this[0].production_variants[0].instance_type == "ml.g5.2xlarge" && aws_sagemaker_endpoint_configuration.this[0].production_variants[0].initial_instance_count == 5
    error_message = "Five ml.g5.2xlarge at first."
  }

  assert {
    condition     = length(aws_sagemaker_endpoint_configuration.this[0].production_variants[0].managed_instance_scaling) == 0
    error_message = "The scalable target scales; managed scaling beside it would fight with it."
  }

  assert {
    condition     = aws_sagemaker_endpoint_configuration.this[0].production_variants[0].routing_config[0].routing_strategy == "LEAST_OUTSTANDING_REQUESTS"
    error_message = "Whoever has the fewest requests gets the next."
  }

  assert {
    condition     = length(aws_sagemaker_endpoint_configuration.this[0].shadow_production_variants) == 0
    error_message = "No shadow unless asked for."
  }

  assert {
    condition     = aws_sagemaker_endpoint_configuration.this[0].kms_key_arn == null
    error_message = "SageMaker refuses a key for machines with a local disk."
  }

  assert {
    condition     = aws_sagemaker_model.this["primary"].primary_container[0].image == "123456789012.dkr.ecr.us-east-1.amazonaws.com/glassbox@${var.image_digest}"
    error_message = "The image is named by its digest."
  }

  assert {
    condition     = aws_sagemaker_model.this["primary"].primary_container[0].model_data_source[0].s3_data_source[0].s3_uri == "s3://glassbox-123456789012-us-east-1/bundles/support-0123456789ab.tar.gz"
    error_message = "The bundle comes from this stack's bucket."
  }

  assert {
    condition     = aws_sagemaker_model.this["primary"].primary_container[0].model_data_source[0].s3_data_source[0].compression_type == "Gzip" && aws_sagemaker_model.this["primary"].primary_container[0].model_data_source[0].s3_data_source[0].s3_data_type == "S3Object"
    error_message = "An archive is one packed object."
  }

  assert {
    condition     = aws_sagemaker_model.this["primary"].primary_container[0].environment["GLASSBOX_ENGINE__ADAPTER_URL_PREFIX"] == "s3://glassbox-123456789012-us-east-1/adapters/" && aws_sagemaker_model.this["primary"].primary_container[0].environment["GLASSBOX_ENGINE__BATCH_TOKENS"] == "4096"
    error_message = "The container knows where adapters lie, and the caller's settings."
  }

  assert {
    condition     = aws_sagemaker_model.this["primary"].enable_network_isolation == false
    error_message = "Adapters in the bucket need the network."
  }

  assert {
    condition     = aws_sagemaker_endpoint.this[0].deployment_config[0].rolling_update_policy[0].maximum_batch_size[0].value == 20
    error_message = "A fifth at a time: one of five."
  }

  assert {
    condition     = length(aws_sagemaker_endpoint.this[0].deployment_config[0].auto_rollback_configuration[0].alarms) == 2
    error_message = "Latency and errors undo an update."
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.this.block_public_acls && aws_s3_bucket_public_access_block.this.block_public_policy && aws_s3_bucket_public_access_block.this.ignore_public_acls && aws_s3_bucket_public_access_block.this.restrict_public_buckets
    error_message = "Nobody from outside."
  }

  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled"
    error_message = "What is overwritten can be had again."
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default[0].kms_master_key_id == aws_kms_key.this[0].arn
    error_message = "Sealed with our key."
  }

  assert {
    condition     = length(aws_sagemaker_model.this["primary"].vpc_config) == 0 && length(aws_security_group.this) == 0 && length(aws_vpc_endpoint.store) == 0
    error_message = "None of it by default."
  }

  assert {
    condition     = !anytrue([for each in data.aws_iam_policy_document.execution.statement : contains(each.actions, "ec2:CreateNetworkInterface")])
    error_message = "And no rights in it."
  }

  assert {
    condition = alltrue([
      for each in data.aws_iam_policy_document.execution.statement : !contains(each.resources, "*") || contains(["SignInToPull", "WriteMetrics"], each.sid)
    ])
    error_message = "Only signing in and metrics know no resource."
  }

  assert {
    condition = alltrue(flatten([
      for each in data.aws_iam_policy_document.execution.statement : [for action in each.actions : !endswith(action, "*")]
    ]))
    error_message = "No action with a star."
  }

  assert {
    condition = alltrue(flatten([
      for each in data.aws_iam_policy_document.invoke.statement : [for resource in each.resources : resource != "*"]
    ]))
    error_message = "Callers may ask this endpoint and no other."
  }
}

run "what_can_be_chosen" {
  module {
    source = "./modules/serving"
  }

  variables {
    bundle_key          = "bundles/support/"
    adapters_from_store = false
    instance_type       = "ml.m5.xlarge"
    update_policy       = "blue-green"
    access_log_bucket   = "our-access-logs"
    shadow              = { bundle_key = "bundles/new-0123.tar.gz", image_digest = null, initial_instances = 2, share = 0.25 }
    vpc                 = { vpc_id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], security_group_ids = [], route_table_ids = ["rtb-1"] }
  }

  assert {
    condition     = aws_sagemaker_model.this["primary"].primary_container[0].model_data_source[0].s3_data_source[0].compression_type == "None" && aws_sagemaker_model.this["primary"].primary_container[0].model_data_source[0].s3_data_source[0].s3_data_type == "S3Prefix"
    error_message = "A folder is a prefix of unpacked objects."
  }

  assert {
    condition     = aws_sagemaker_model.this["primary"].enable_network_isolation
    error_message = "Nothing to fetch, no network."
  }

  assert {
    condition     = !contains(keys(aws_sagemaker_model.this["primary"].primary_container[0].environment), "GLASSBOX_ENGINE__ADAPTER_URL_PREFIX")
    error_message = "An isolated container is not told of a store that it cannot reach."
  }

  assert {
    condition     = aws_sagemaker_endpoint_configuration.this[0].shadow_production_variants[0].initial_variant_weight == 0.25 && aws_sagemaker_endpoint_configuration.this[0].shadow_production_variants[0].initial_instance_count == 2
    error_message = "A quarter of the traffic is copied, to two machines."
  }

  assert {
    condition     = aws_sagemaker_model.this["shadow"].primary_container[0].image == aws_sagemaker_model.this["primary"].primary_container[0].image && output.models["shadow"] != output.models["primary"]
    error_message = "Without an image of its own it has the first one's, with its own bundle."
  }

  assert {
    condition     = length(aws_sagemaker_endpoint.this[0].deployment_config[0].rolling_update_policy) == 0 && aws_sagemaker_endpoint.this[0].deployment_config[0].blue_green_update_policy[0].traffic_routing_configuration[0].type == "CANARY"
    error_message = "A canary first, then the rest."
  }

  assert {
    condition     = aws_sagemaker_endpoint_configuration.this[0].kms_key_arn == "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000001"
    error_message = "Their disk is encrypted with our key."
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.https[0].from_port == 443 && aws_vpc_security_group_egress_rule.https[0].to_port == 443
    error_message = "Out by HTTPS alone, and nothing in."
  }

  assert {
    condition     = aws_vpc_endpoint.store[0].service_name == "com.amazonaws.us-east-1.s3"
    error_message = "The bucket is reached without the internet."
  }

  assert {
    condition     = length(aws_sagemaker_model.this["primary"].vpc_config[0].subnets) == 2
    error_message = "In both zones."
  }

  assert {
    condition     = aws_s3_bucket_logging.this[0].target_bucket == "our-access-logs"
    error_message = "Into the bucket that was named."
  }

  assert {
    condition     = output.models["primary"] != run.what_it_is_unless_told_otherwise.models["primary"]
    error_message = "Models cannot be changed: a new bundle has a new name, so that the old one stays until the endpoint has moved."
  }
}

run "what_is_there_already_is_taken" {
  module {
    source = "./modules/serving"
  }

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/other"
    vpc         = { vpc_id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], security_group_ids = ["sg-1"], route_table_ids = [] }
  }

  assert {
    condition     = aws_sagemaker_model.this["primary"].vpc_config[0].security_group_ids == toset(["sg-1"]) && length(aws_security_group.this) == 0
    error_message = "The caller's group is taken as it is."
  }

  assert {
    condition     = output.kms_key_arn == "arn:aws:kms:us-east-1:123456789012:key/other" && length(aws_kms_key.this) == 0
    error_message = "No second key."
  }
}

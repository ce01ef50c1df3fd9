# The module that grows, watches and bills, by itself. Every run starts the provider anew, so each looks at much.

mock_provider "aws" {
  source = "./tests/pretended"
}

variables {
  name               = "glassbox"
  variant_name       = "primary"
  endpoint           = "glassbox"
  has_endpoint       = true
  min_instances      = 5
  max_instances      = 300
  scaling_metric     = "concurrency"
  concurrency_target = 8
  gpu_target_percent = 80
  p99_limit_us       = 500000
  alarm_emails       = ["on-call@example.org"]
  monthly_budget_usd = null
  kms_key_arn        = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000001"
}

run "what_it_is_unless_told_otherwise" {
  module {
    source = "./modules/operations"
  }

  assert {
    condition     = aws_appautoscaling_target.this[0].min_capacity == 5 && aws_appautoscaling_target.this[0].max_capacity == 300
    error_message = "5 to 300 machines."
  }

  assert {
    condition     = aws_appautoscaling_target.this[0].resource_id == "endpoint/glassbox/variant/primary" && aws_appautoscaling_target.this[0].scalable_dimension == "sagemaker:variant:DesiredInstanceCount"
    error_message = "The variant of this endpoint."
  }

  assert {
    condition     = aws_appautoscaling_policy.this[0].target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].predefined_metric_type == "SageMakerVariantConcurrentRequestsPerModelHighResolution"
    error_message = "The metric that is seen within seconds."
  }

  assert {
    condition     = aws_appautoscaling_policy.this[0].target_tracking_scaling_policy_configuration[0].target_value == 8
    error_message = "Requests in flight per machine."
  }

  assert {
    condition     = aws_appautoscaling_policy.this[0].target_tracking_scaling_policy_configuration[0].scale_out_cooldown == 60 && aws_appautoscaling_policy.this[0].target_tracking_scaling_policy_configuration[0].scale_in_cooldown == 600
    error_message = "It grows again after a minute, whatever it follows, and shrinks again after ten."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.p99.threshold == 500000 && aws_cloudwatch_metric_alarm.p99.extended_statistic == "p99" && aws_cloudwatch_metric_alarm.p99.statistic == null
    error_message = "Half a second is 500,000 of what ModelLatency counts in; a percentile is an extended statistic."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.p99.alarm_description == "The slowest hundredth of answers takes longer than 500 ms in the container."
    error_message = "People read milliseconds."
  }

  assert {
    condition     = output.rollback_alarms == ["glassbox-p99-latency", "glassbox-server-errors"]
    error_message = "These undo an update."
  }

  assert {
    condition     = aws_sns_topic_subscription.email["on-call@example.org"].protocol == "email" && aws_sns_topic.this.kms_master_key_id == var.kms_key_arn
    error_message = "By mail, through a sealed topic."
  }

  assert {
    condition     = length(aws_budgets_budget.this) == 0
    error_message = "No budget unless asked for."
  }

  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets) == 6
    error_message = "Six charts."
  }

  assert {
    condition = alltrue([
      for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets :
      alltrue([for metric in widget.properties.metrics : metric[3] == "glassbox" && metric[5] == "primary"])
    ])
    error_message = "All of this endpoint's variant."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets[1].properties.annotations.horizontal[0].value == 500000
    error_message = "The alarm's limit is drawn where the latency is."
  }
}

run "by_the_graphics_cards_and_within_a_budget" {
  module {
    source = "./modules/operations"
  }

  variables {
    scaling_metric     = "gpu"
    monthly_budget_usd = 6000
  }

  assert {
    condition     = aws_appautoscaling_policy.this[0].target_tracking_scaling_policy_configuration[0].target_value == 80
    error_message = "80 % of the GPU."
  }

  assert {
    condition     = aws_appautoscaling_policy.this[0].target_tracking_scaling_policy_configuration[0].scale_out_cooldown == 60 && aws_appautoscaling_policy.this[0].target_tracking_scaling_policy_configuration[0].scale_in_cooldown == 600
    error_message = "It grows again after a minute, whatever it follows, and shrinks again after ten."
  }

  assert {
    condition     = aws_appautoscaling_policy.this[0].target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metric_name == "GPUUtilization" && aws_appautoscaling_policy.this[0].target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].namespace == "/aws/sagemaker/Endpoints"
    error_message = "SageMaker's own metric of its machines."
  }

  assert {
    condition     = aws_budgets_budget.this[0].limit_amount == "6000.00" && one(aws_budgets_budget.this[0].cost_filter).values[0] == "user:glassbox:deployment$glassbox"
    error_message = "What this deployment costs, by its tag."
  }
}

run "nothing_to_scale_without_an_endpoint" {
  module { source = "./modules/operations" }
  variables {
    endpoint     = null
    has_endpoint = false
  }

  assert {
    condition     = length(aws_appautoscaling_target.this) == 0 && length(aws_appautoscaling_policy.this) == 0
    error_message = "A scalable target needs something to scale."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.p99.dimensions["EndpointName"] == "glassbox"
    error_message = "Alarms stand before the endpoint does."
  }
}


# They exist before the endpoint does, by its name: no data is no alarm.

locals {
  variant = { EndpointName = var.name, VariantName = var.variant_name }
}

resource "aws_sns_topic" "this" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.kms_key_arn
}

data "aws_iam_policy_document" "topic" {
  statement {
    sid       = "AlarmsAndBudgetOfThisAccount"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.this.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "this" {
  arn    = aws_sns_topic.this.arn
  policy = data.aws_iam_policy_document.topic.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.alarm_emails

  topic_arn = aws_sns_topic.this.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_cloudwatch_metric_alarm" "p99" {
  alarm_name        = "${var.name}-p99-latency"
  alarm_description = "The slowest hundredth of answers takes longer than ${var.p99_limit_us / 1000} ms in the container."

  namespace   = "AWS/SageMaker"
  metric_name = "ModelLatency"
  dimensions  = local.variant
  unit        = "Microseconds"

  # A percentile is an extended statistic, and ModelLatency is in microseconds.
  extended_statistic                    = "p99"
  threshold                             = var.p99_limit_us
  comparison_operator                   = "GreaterThanThreshold"
  period                                = 60
  evaluation_periods                    = 3
  datapoints_to_alarm                   = 3
  treat_missing_data                    = "notBreaching"
  evaluate_low_sample_count_percentiles = "ignore"

  alarm_actions = [aws_sns_topic.this.arn]
  ok_actions    = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name        = "${var.name}-server-errors"
  alarm_description = "More than one in a hundred requests failed in the container, for three minutes."

  namespace   = "AWS/SageMaker"
  metric_name = "Invocation5XXErrors"
  dimensions  = local.variant

  # Every request sends 1 or 0, so the mean is the share.
  statistic           = "Average"
  threshold           = 0.01
  comparison_operator = "GreaterThanThreshold"
  period              = 60
  evaluation_periods  = 3
  datapoints_to_alarm = 3
  treat_missing_data  = "notBreaching"

  alarm_actions = [aws_sns_topic.this.arn]
  ok_actions    = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_metric_alarm" "memory" {
  alarm_name        = "${var.name}-gpu-memory"
  alarm_description = "GPU memory is nearly full: lower engine.batch_tokens, or take a larger machine."

  namespace   = "/aws/sagemaker/Endpoints"
  metric_name = "GPUMemoryUtilization"
  dimensions  = local.variant
  unit        = "Percent"

  statistic           = "Maximum"
  threshold           = 95
  comparison_operator = "GreaterThanThreshold"
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 5
  treat_missing_data  = "notBreaching"

  alarm_actions = [aws_sns_topic.this.arn]
}

resource "aws_budgets_budget" "this" {
  count = var.monthly_budget_usd == null ? 0 : 1

  name         = "${var.name}-monthly"
  budget_type  = "COST"
  limit_amount = format("%.2f", var.monthly_budget_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:glassbox:deployment$%s", var.name)]
  }

  notification {
    comparison_operator        = "GREATER_THAN"
    notification_type          = "ACTUAL"
    threshold                  = 80
    threshold_type             = "PERCENTAGE"
    subscriber_email_addresses = var.alarm_emails
  }

  notification {
    comparison_operator        = "GREATER_THAN"
    notification_type          = "FORECASTED"
    threshold                  = 100
    threshold_type             = "PERCENTAGE"
    subscriber_email_addresses = var.alarm_emails
  }
}

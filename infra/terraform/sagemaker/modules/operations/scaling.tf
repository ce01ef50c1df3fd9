# The number of machines follows the load between two limits. The variant has a plain model, so this is its scalable
# target; managed_instance_scaling belongs to inference components, and both at once would pull in two directions.

resource "aws_appautoscaling_target" "this" {
  count = var.has_endpoint ? 1 : 0

  service_namespace  = "sagemaker"
  scalable_dimension = "sagemaker:variant:DesiredInstanceCount"
  resource_id        = "endpoint/${var.endpoint}/variant/${var.variant_name}"
  min_capacity       = var.min_instances
  max_capacity       = var.max_instances
}

resource "aws_appautoscaling_policy" "this" {
  count = var.has_endpoint ? 1 : 0

  name               = "${var.name}-${var.scaling_metric}"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.this[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.this[0].resource_id

  target_tracking_scaling_policy_configuration {
    target_value = var.scaling_metric == "gpu" ? var.gpu_target_percent : var.concurrency_target

    # As 'glassbox deploy sagemaker' has them. Until new machines answer, about five minutes, AWS takes no other change.
    scale_out_cooldown = 60
    scale_in_cooldown  = 600

    dynamic "predefined_metric_specification" {
      for_each = var.scaling_metric == "concurrency" ? [1] : []

      content {
        predefined_metric_type = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
      }
    }

    dynamic "customized_metric_specification" {
      for_each = var.scaling_metric == "gpu" ? [1] : []

      content {
        metric_name = "GPUUtilization"
        namespace   = "/aws/sagemaker/Endpoints"
        statistic   = "Average"
        unit        = "Percent"

        dimensions {
          name  = "EndpointName"
          value = var.name
        }

        dimensions {
          name  = "VariantName"
          value = var.variant_name
        }
      }
    }
  }
}

# One look at the endpoint: what is asked, how long it takes, what fails, what the machines do.

locals {
  region = data.aws_region.current.name
  own    = ["EndpointName", var.name, "VariantName", var.variant_name]

  charts = [
    {
      title  = "Requests a minute"
      metric = [concat(["AWS/SageMaker", "Invocations"], local.own, [{ stat = "Sum", period = 60 }])]
    },
    {
      title = "Time in the container, microseconds"
      metric = [
        concat(["AWS/SageMaker", "ModelLatency"], local.own, [{ stat = "p50", label = "p50" }]),
        concat(["AWS/SageMaker", "ModelLatency"], local.own, [{ stat = "p99", label = "p99" }]),
        concat(["AWS/SageMaker", "OverheadLatency"], local.own, [{ stat = "p99", label = "p99 before and after" }]),
      ]
      limit = var.p99_limit_us
    },
    {
      title = "Refused and failed"
      metric = [
        concat(["AWS/SageMaker", "Invocation4XXErrors"], local.own, [{ stat = "Sum", label = "asked wrongly, or too many (4XX)" }]),
        concat(["AWS/SageMaker", "Invocation5XXErrors"], local.own, [{ stat = "Sum", label = "failed (5XX)" }]),
      ]
    },
    {
      title = "Requests in flight per machine"
      metric = [
        concat(["AWS/SageMaker", "ConcurrentRequestsPerModel"], local.own, [{ stat = "Maximum", period = 10 }]),
      ]
      limit = var.scaling_metric == "concurrency" ? var.concurrency_target : null
    },
    {
      title = "GPU and its memory, percent"
      metric = [
        concat(["/aws/sagemaker/Endpoints", "GPUUtilization"], local.own, [{ stat = "Average" }]),
        concat(["/aws/sagemaker/Endpoints", "GPUMemoryUtilization"], local.own, [{ stat = "Maximum" }]),
      ]
      limit = var.scaling_metric == "gpu" ? var.gpu_target_percent : null
    },
    {
      title = "Processor, memory and disk, percent"
      metric = [
        concat(["/aws/sagemaker/Endpoints", "CPUUtilization"], local.own, [{ stat = "Average" }]),
        concat(["/aws/sagemaker/Endpoints", "MemoryUtilization"], local.own, [{ stat = "Maximum" }]),
        concat(["/aws/sagemaker/Endpoints", "DiskUtilization"], local.own, [{ stat = "Maximum" }]),
      ]
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [
      for place, chart in local.charts : {
        type   = "metric"
        x      = 12 * (place % 2)
        y      = 6 * floor(place / 2)
        width  = 12
        height = 6
        properties = {
          title   = chart.title
          view    = "timeSeries"
          stacked = false
          region  = local.region
          period  = 60
          metrics = chart.metric
          annotations = {
            horizontal = try(chart.limit, null) == null ? [] : [{ label = "limit", value = chart.limit }]
          }
        }
      }
    ]
  })
}

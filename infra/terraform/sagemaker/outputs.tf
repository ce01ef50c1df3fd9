output "endpoint_name" {
  description = "What programs call; null before there is an endpoint."
  value       = one(module.serving.endpoint_names)
}

output "endpoint_configuration" {
  description = "What the endpoint is meant to run; after an update compare it with what SageMaker says it runs."
  value       = one(module.serving.configurations)
}

output "repository_url" {
  description = "Where the image is pushed."
  value       = module.serving.repository_url
}

output "bucket" {
  description = "Where bundles (bundles/), adapters (adapters/) and large answers (answers/) lie."
  value       = module.serving.bucket
}

output "execution_role_arn" {
  description = "What the containers may do; `glassbox deploy sagemaker --role` takes it too."
  value       = module.serving.execution_role_arn
}

output "invoke_policy_arn" {
  description = "Attach this to whoever may ask the endpoint."
  value       = module.serving.invoke_policy_arn
}

output "alarm_topic_arn" {
  description = "Where alarms are published."
  value       = module.operations.topic_arn
}

output "dashboard_url" {
  description = "The numbers, in a browser."
  value       = "https://${var.region}.console.aws.amazon.com/cloudwatch/home?region=${var.region}#dashboards:name=${module.operations.dashboard_name}"
}

output "endpoint_names" {
  description = "The endpoint's name, once there is one: none or one."
  value       = aws_sagemaker_endpoint.this[*].name
}

output "configurations" {
  description = "Name of the configuration that the endpoint is meant to have, once there is one: none or one."
  value       = aws_sagemaker_endpoint_configuration.this[*].name
}

output "repository_url" {
  description = "Where the image is pushed."
  value       = aws_ecr_repository.this.repository_url
}

output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.this.id
}

output "execution_role_arn" {
  description = "What the containers may do."
  value       = aws_iam_role.execution.arn
}

output "invoke_policy_arn" {
  description = "What callers need."
  value       = aws_iam_policy.invoke.arn
}

output "kms_key_arn" {
  description = "The key of all that is kept."
  value       = local.kms_key_arn
}

output "models" {
  description = "Name of the model of each variant."
  value       = local.model_names
}

# What each means and what is allowed is said in the variables of the root, which hands them down.

variable "name" {
  description = "Name of the deployment and of its endpoint."
  type        = string
}

variable "variant_name" {
  description = "Name of the variant that answers."
  type        = string
}

variable "endpoint" {
  description = "The endpoint's name, known only once it exists; null while there is none."
  type        = string
}

variable "has_endpoint" {
  description = "Whether there is one; known before it exists."
  type        = bool
}

variable "min_instances" {
  description = "Fewest machines."
  type        = number
}

variable "max_instances" {
  description = "Most machines."
  type        = number
}

variable "scaling_metric" {
  description = "concurrency or gpu."
  type        = string
}

variable "concurrency_target" {
  description = "Requests in flight per machine to hold."
  type        = number
}

variable "gpu_target_percent" {
  description = "GPU utilisation to hold, in percent."
  type        = number
}

variable "p99_limit_us" {
  description = "Limit of the 99th percentile of ModelLatency, in microseconds."
  type        = number
}

variable "alarm_emails" {
  description = "Who is told."
  type        = set(string)
}

variable "monthly_budget_usd" {
  description = "US dollars a month, or null."
  type        = number
}

variable "kms_key_arn" {
  description = "Key of the messages."
  type        = string
}

# What each means and what is allowed is said in the variables of the root, which hands them down.

variable "name" {
  description = "Name of the deployment and of its endpoint."
  type        = string
}

variable "variant_name" {
  description = "Name of the variant that answers."
  type        = string
}

variable "image_digest" {
  description = "sha256:… of the image; null makes no endpoint."
  type        = string
}

variable "bundle_key" {
  description = "Key of the bundle in the bucket."
  type        = string
}

variable "shadow" {
  description = "A second bundle that gets a copy of the traffic, or null."
  type = object({
    bundle_key        = string
    image_digest      = optional(string)
    initial_instances = number
    share             = number
  })
}

variable "instance_type" {
  description = "Machine of each replica."
  type        = string
}

variable "initial_instances" {
  description = "Machines at the beginning and after an update."
  type        = number
}

variable "environment" {
  description = "Further settings of the container."
  type        = map(string)
}

variable "adapters_from_store" {
  description = "Whether requests may name adapters in the bucket."
  type        = bool
}

variable "vpc" {
  description = "Private network of the containers, or null."
  type = object({
    vpc_id             = string
    subnet_ids         = list(string)
    security_group_ids = list(string)
    route_table_ids    = list(string)
  })
}

variable "kms_key_arn" {
  description = "An existing key, or null to make one."
  type        = string
}

variable "access_log_bucket" {
  description = "Bucket that keeps who used this one, or null."
  type        = string
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
}

variable "update_policy" {
  description = "rolling or blue-green."
  type        = string
}

variable "rollback_alarms" {
  description = "Names of the alarms that undo an update."
  type        = list(string)
}

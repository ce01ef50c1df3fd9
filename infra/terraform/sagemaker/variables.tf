variable "name" {
  description = "Name of the deployment: the endpoint is called so, everything else begins with it."
  type        = string
  default     = "glassbox"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}[a-z0-9]$", var.name))
    error_message = "name is 3 to 32 small letters, digits and hyphens, and begins with a letter: the bucket's name is made of it."
  }
}

variable "region" {
  description = "Region of everything."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is the code of an AWS region, such as eu-central-1."
  }
}

variable "image_digest" {
  description = "sha256:… of the image in this stack's repository. null makes everything but the endpoint, so that there is a place to push to."
  type        = string
  default     = null

  validation {
    condition     = var.image_digest == null ? true : can(regex("^sha256:[0-9a-f]{64}$", var.image_digest))
    error_message = "image_digest is sha256: and 64 hexadecimal digits, as docker push prints it. Tags move; a digest does not."
  }
}

variable "bundle_key" {
  description = "Key of the bundle's archive in this stack's bucket: bundles/….tar.gz of `glassbox bundle make`, or a folder that ends in / with its files unpacked."
  type        = string
  default     = null

  validation {
    condition     = var.bundle_key == null ? true : can(regex("^bundles/.+(\\.tar\\.gz|/)$", var.bundle_key))
    error_message = "bundle_key begins with bundles/ and ends in .tar.gz or, for unpacked files, in /."
  }

  validation {
    condition     = (var.bundle_key == null) == (var.image_digest == null)
    error_message = "image_digest and bundle_key are given together: an endpoint needs both."
  }
}

variable "instance_type" {
  description = "Machine of each replica."
  type        = string
  default     = "ml.g5.2xlarge"

  validation {
    condition     = can(regex("^ml\\.[a-z0-9-]+\\.[a-z0-9]+$", var.instance_type))
    error_message = "instance_type is one of SageMaker's, such as ml.g5.2xlarge."
  }
}

variable "initial_instances" {
  description = "Machines at the beginning, and after every update: raise it to what runs now before you update under load."
  type        = number
  default     = 5

  validation {
    condition     = var.initial_instances >= var.min_instances && var.initial_instances <= var.max_instances && floor(var.initial_instances) == var.initial_instances
    error_message = "initial_instances is a whole number from min_instances to max_instances."
  }
}

variable "min_instances" {
  description = "Machines that always run. Two or more lie in different zones."
  type        = number
  default     = 5

  validation {
    condition     = var.min_instances >= 1 && floor(var.min_instances) == var.min_instances
    error_message = "min_instances is a whole number, at least 1: an endpoint with a plain model cannot scale to nothing."
  }
}

variable "max_instances" {
  description = "Most machines. The account's quota for the instance type must allow it; the usual one is far smaller than 300."
  type        = number
  default     = 300

  validation {
    condition     = var.max_instances >= var.min_instances && floor(var.max_instances) == var.max_instances
    error_message = "max_instances is a whole number, at least min_instances."
  }
}

variable "scaling_metric" {
  description = "What decides how many machines run: concurrency (requests in flight per machine, seen within ten seconds) or gpu (utilisation, seen within minutes)."
  type        = string
  default     = "concurrency"

  validation {
    condition     = contains(["concurrency", "gpu"], var.scaling_metric)
    error_message = "scaling_metric is concurrency or gpu."
  }
}

variable "concurrency_target" {
  description = "Requests in flight per machine to hold: measure at which number p99 leaves your limit, and take 80 % of it."
  type        = number
  default     = 8

  validation {
    condition     = var.concurrency_target > 0
    error_message = "concurrency_target is above 0."
  }
}

variable "gpu_target_percent" {
  description = "GPU utilisation to hold, in percent as CloudWatch counts it: machines with several GPUs add theirs up, to 400 with four."
  type        = number
  default     = 80

  validation {
    condition     = var.gpu_target_percent > 0 && var.gpu_target_percent <= 800
    error_message = "gpu_target_percent is above 0 and at most 100 for each GPU of a machine."
  }
}

variable "p99_limit_us" {
  description = "99th percentile of ModelLatency above which the alarm fires, in microseconds, because that is what the metric counts in: 500000 is half a second."
  type        = number
  default     = 500000

  validation {
    condition     = var.p99_limit_us >= 1000
    error_message = "p99_limit_us is in microseconds and at least 1000: 500 would alarm at half a millisecond."
  }
}

variable "alarm_emails" {
  description = "Who is told about alarms. Each address confirms once, by a link."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+$", each))])
    error_message = "alarm_emails are e-mail addresses."
  }
}

variable "monthly_budget_usd" {
  description = "US dollars a month for this deployment; people are told at 80 % and when the forecast exceeds it. null sets no budget."
  type        = number
  default     = null

  validation {
    condition     = var.monthly_budget_usd == null ? true : var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd is above 0."
  }

  validation {
    condition     = var.monthly_budget_usd == null ? true : length(var.alarm_emails) > 0
    error_message = "monthly_budget_usd needs alarm_emails: somebody has to be told."
  }
}

variable "environment" {
  description = "Settings of the container, as GLASSBOX_…: docs/reference/settings.md. No secrets: whoever may describe the model can read them."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for each in keys(var.environment) : startswith(each, "GLASSBOX_")])
    error_message = "environment holds GLASSBOX_… settings only."
  }

  validation {
    condition     = alltrue([for key, value in var.environment : !can(regex("(KEY|TOKEN|SECRET|PASSWORD|HIDDEN)", key)) && !can(regex("://[^/]*:[^/]*@", value))])
    error_message = "environment holds no secrets, and no addresses with a password: whoever may describe the model can read it."
  }
}

variable "adapters_from_store" {
  description = "Whether requests may name LoRA adapters below s3://BUCKET/adapters/. Then the container reaches the network; without it the model is isolated."
  type        = bool
  default     = true
}

variable "shadow" {
  description = "A second bundle (and, where given, another image) that gets a copy of the traffic and answers nobody; share is the fraction copied."
  type = object({
    bundle_key        = string
    image_digest      = optional(string)
    initial_instances = optional(number, 1)
    share             = optional(number, 0.1)
  })
  default = null

  validation {
    condition     = var.shadow == null ? true : can(regex("^bundles/.+(\\.tar\\.gz|/)$", var.shadow.bundle_key)) && var.shadow.share > 0 && var.shadow.share <= 1 && var.shadow.initial_instances >= 1
    error_message = "shadow has a bundle_key like the one above, a share above 0 and at most 1, and at least one instance."
  }
}

variable "vpc" {
  description = "Private network of the containers. Without security_group_ids one is made that lets nothing in and only HTTPS out. With route_table_ids the bucket is reached without the internet."
  type = object({
    vpc_id             = string
    subnet_ids         = list(string)
    security_group_ids = optional(list(string), [])
    route_table_ids    = optional(list(string), [])
  })
  default = null

  validation {
    condition     = var.vpc == null ? true : startswith(var.vpc.vpc_id, "vpc-") && length(var.vpc.subnet_ids) >= 2
    error_message = "vpc has a vpc_id and at least two subnet_ids, in different zones."
  }
}

variable "kms_key_arn" {
  description = "An existing key for bucket, images, logs and messages; its policy must allow those services. null makes one."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn is the ARN of a key, arn:aws:kms:REGION:ACCOUNT:key/…"
  }
}

variable "access_log_bucket" {
  description = "Existing bucket that keeps who read and wrote this stack's bucket. null keeps no such log."
  type        = string
  default     = null
}

variable "log_retention_days" {
  description = "Days that the containers' logs are kept. They hold no prompts and no answers."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days is one of the numbers that CloudWatch knows, such as 30, 90 or 365."
  }
}

variable "update_policy" {
  description = "How a new version replaces the old one: rolling, a fifth at a time, or blue-green, with a canary tenth and as many machines again meanwhile."
  type        = string
  default     = "rolling"

  validation {
    condition     = contains(["rolling", "blue-green"], var.update_policy)
    error_message = "update_policy is rolling or blue-green."
  }
}

variable "tags" {
  description = "Tags of everything, beside glassbox:deployment."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for each in keys(var.tags) : !startswith(each, "aws:") && !startswith(each, "glassbox:")])
    error_message = "tags do not begin with aws: or glassbox:, which are taken."
  }
}

terraform {
  # `terraform test` with mock providers came with 1.7, the validation of one variable by another with 1.9.
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = merge(var.tags, { "glassbox:deployment" = var.name, "glassbox:made-by" = "terraform" })
  }
}

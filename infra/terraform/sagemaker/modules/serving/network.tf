# Only with a private network: a way out for HTTPS alone, and to the bucket without the internet.

locals {
  # Without one of the caller's, a group is made.
  makes_group     = var.vpc == null ? false : length(var.vpc.security_group_ids) == 0
  security_groups = var.vpc == null ? [] : local.makes_group ? aws_security_group.this[*].id : var.vpc.security_group_ids
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:The model's vpc_config has it, through a local that the policy check does not follow.
  count = local.makes_group ? 1 : 0

  name        = "${var.name}-sagemaker"
  description = "Containers of ${var.name}: nothing in, HTTPS out"
  vpc_id      = var.vpc.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "https" {
  count = local.makes_group ? 1 : 0

  security_group_id = aws_security_group.this[0].id
  description       = "Object store, image repository, logs"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

data "aws_iam_policy_document" "store_endpoint" {
  statement {
    sid       = "ThisBucket"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:ListBucket"]
    resources = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]

    principals {
      type        = "AWS"
      identifiers = [aws_iam_role.execution.arn]
    }
  }

  statement {
    sid       = "LayersOfImages"
    actions   = ["s3:GetObject"]
    resources = ["arn:${local.partition}:s3:::prod-${local.region}-starport-layer-bucket/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }
}

resource "aws_vpc_endpoint" "store" {
  count = var.vpc == null ? 0 : length(var.vpc.route_table_ids) > 0 ? 1 : 0

  vpc_id            = var.vpc.vpc_id
  service_name      = "com.amazonaws.${local.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.vpc.route_table_ids
  policy            = data.aws_iam_policy_document.store_endpoint.json
}

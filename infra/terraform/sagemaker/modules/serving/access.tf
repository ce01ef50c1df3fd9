# What the containers may do, and what callers need. Nobody else gets anything here.

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["sagemaker.amazonaws.com"]
    }

    # SageMaker of another account must not be able to borrow the role.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "execution" {
  name                 = "${var.name}-${local.region}-sagemaker"
  description          = "What the containers of ${var.name} may do"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  max_session_duration = 3600
}

data "aws_iam_policy_document" "execution" {
  #checkov:skip=CKV_AWS_356:GetAuthorizationToken, PutMetricData and the network calls know no narrower resource; each is bound by a condition where there is one.
  #checkov:skip=CKV_AWS_111:As above.
  statement {
    sid       = "ReadBundlesAndAdapters"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.this.arn}/bundles/*", "${aws_s3_bucket.this.arn}/adapters/*"]
  }

  statement {
    sid       = "ListBundlesAndAdapters"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.this.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["bundles/*", "adapters/*"]
    }
  }

  statement {
    sid       = "WriteLargeAnswers"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.this.arn}/answers/*"]
  }

  statement {
    sid       = "OpenAndSealThem"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [local.kms_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${local.region}.amazonaws.com"]
    }
  }

  statement {
    sid       = "PullTheImage"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [aws_ecr_repository.this.arn]
  }

  statement {
    sid       = "SignInToPull"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid     = "WriteLogs"
    actions = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = [
      aws_cloudwatch_log_group.this.arn,
      "${aws_cloudwatch_log_group.this.arn}:log-stream:*",
    ]
  }

  statement {
    sid       = "WriteMetrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = ["AWS/SageMaker", "/aws/sagemaker/Endpoints"]
    }
  }

  dynamic "statement" {
    for_each = var.vpc == null ? [] : [var.vpc]

    content {
      sid = "JoinThePrivateNetwork"
      actions = [
        "ec2:CreateNetworkInterface",
        "ec2:CreateNetworkInterfacePermission",
        "ec2:DeleteNetworkInterface",
        "ec2:DeleteNetworkInterfacePermission",
        "ec2:DescribeDhcpOptions",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
        "ec2:DescribeVpcs",
      ]
      resources = ["*"]
    }
  }
}

resource "aws_iam_role_policy" "execution" {
  name   = "containers"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

data "aws_iam_policy_document" "invoke" {
  statement {
    sid       = "Ask"
    actions   = ["sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointWithResponseStream"]
    resources = ["arn:${local.partition}:sagemaker:${local.region}:${local.account}:endpoint/${var.name}"]
  }

  statement {
    sid       = "LookAtIt"
    actions   = ["sagemaker:DescribeEndpoint"]
    resources = ["arn:${local.partition}:sagemaker:${local.region}:${local.account}:endpoint/${var.name}"]
  }

  statement {
    sid       = "FetchLargeAnswers"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.this.arn}/answers/*"]
  }

  statement {
    sid       = "OpenThem"
    actions   = ["kms:Decrypt"]
    resources = [local.kms_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${local.region}.amazonaws.com"]
    }
  }
}

resource "aws_iam_policy" "invoke" {
  name        = "${var.name}-${local.region}-invoke"
  description = "Ask the endpoint ${var.name}, and fetch its large answers"
  policy      = data.aws_iam_policy_document.invoke.json
}

"""The requests that make an endpoint grow, shrink and call for help.

Pure. Source of names, dimensions and units: AWS, "Monitor Amazon SageMaker AI with CloudWatch" and
"Predefined metrics for automatic scaling".
"""

from typing import Any, Final

from glassbox.deploy.sagemaker.calls import Call
from glassbox.deploy.sagemaker.naming import VARIANT, Names
from glassbox.settings import EndpointSettings
from glassbox.wording import percent

US_PER_S: Final = 1_000_000
"""``ModelLatency`` is in microseconds: a threshold of 500 would be half a millisecond."""

FAILED_SHARE: Final = 0.01
"""Share of requests that may fail in the container."""

ALARM_PERIOD_S: Final = 60
"""Time that one figure of an alarm covers."""

ALARM_PERIODS: Final = 3
"""Figures in a row over the threshold that raise it."""

SCALE_OUT_S: Final = 60
"""Seconds before it grows again."""

SCALE_IN_S: Final = 600
"""Seconds before it shrinks again: a new machine takes about five minutes, so one is not let go
lightly."""


def scalable_target(settings: EndpointSettings, names: Names) -> Call | None:
    """Return the request that lets the machines (or copies) be counted up and down."""
    if settings.scaling == "off":
        return None
    return Call(
        "application-autoscaling",
        "RegisterScalableTarget",
        {
            **scaled(settings.components, names),
            "MinCapacity": settings.min_instances,
            "MaxCapacity": settings.max_instances,
        },
        f"autoscaling of {settings.min_instances} to {settings.max_instances} "
        f"{'copies' if settings.components else 'machines'}",
    )


def scaled(is_component: bool, names: Names) -> dict[str, str]:
    """Return what is scaled, as every request about it says."""
    if is_component:
        return {
            "ServiceNamespace": "sagemaker",
            "ResourceId": names.component_resource,
            "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
        }
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": names.resource,
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def policy(settings: EndpointSettings, names: Names) -> Call | None:
    """Return the request that says what the count follows."""
    if settings.scaling == "off":
        return None
    follows, aim = _metric(settings, names)
    return Call(
        "application-autoscaling",
        "PutScalingPolicy",
        {
            "PolicyName": names.policy(settings.scaling),
            **scaled(settings.components, names),
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                **follows,
                "ScaleOutCooldown": SCALE_OUT_S,
                "ScaleInCooldown": SCALE_IN_S,
            },
        },
        f"scaling policy {names.policy(settings.scaling)}, aiming at {aim}",
    )


def _metric(settings: EndpointSettings, names: Names) -> tuple[dict[str, Any], str]:
    if settings.scaling == "gpu":
        return {
            # One GPU counts 100, as CloudWatch has it; settings are fractions.
            "TargetValue": 100.0 * settings.gpu_target,
            "CustomizedMetricSpecification": {
                "MetricName": "GPUUtilization",
                "Namespace": "/aws/sagemaker/Endpoints",
                "Dimensions": _dimensions(names),
                "Statistic": "Average",
                "Unit": "Percent",
            },
        }, f"{percent(settings.gpu_target)} of the GPU's time"
    kind = (
        "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"
        if settings.components
        else "SageMakerVariantConcurrentRequestsPerModelHighResolution"
    )
    return {
        "TargetValue": settings.concurrency_target,
        "PredefinedMetricSpecification": {"PredefinedMetricType": kind},
    }, f"{settings.concurrency_target:g} requests at a time for each copy"


def alarms(settings: EndpointSettings, names: Names, bundle: str) -> tuple[Call, Call]:
    """Return the requests for the alarms: the model's latency, and requests that fail in it."""
    latency, failures = names.alarms
    threshold_us = settings.alarm_p99_s * US_PER_S
    told = [settings.alarm_topic] if settings.alarm_topic else []
    common = {
        "Namespace": "AWS/SageMaker",
        "Dimensions": [{"Name": "InferenceComponentName", "Value": names.base_component}]
        if settings.components
        else _dimensions(names),
        "Period": ALARM_PERIOD_S,
        "EvaluationPeriods": ALARM_PERIODS,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": told,
        "OKActions": told,
        "Tags": names.tags(bundle),
    }
    slow = {
        "AlarmName": latency,
        "AlarmDescription": f"The model's p99 latency is above {settings.alarm_p99_s:g} s.",
        "MetricName": "ModelLatency",
        # A percentile is an extended statistic; "Statistic" does not know it.
        "ExtendedStatistic": "p99",
        "Threshold": threshold_us,
        # A percentile of a handful of requests is their slowest one.
        "EvaluateLowSampleCountPercentile": "ignore",
    }
    failing = {
        "AlarmName": failures,
        "AlarmDescription": f"More than {percent(FAILED_SHARE)} of requests fail in the container.",
        "MetricName": "Invocation5XXErrors",
        # Every request sends 1 or 0.
        "Statistic": "Average",
        "Threshold": FAILED_SHARE,
    }
    said = f"p99 above {settings.alarm_p99_s:g} s ({threshold_us:,.0f} µs)"
    return (
        Call("cloudwatch", "PutMetricAlarm", {**common, **slow}, f"alarm {latency}, {said}"),
        Call(
            "cloudwatch",
            "PutMetricAlarm",
            {**common, **failing},
            f"alarm {failures}, more than {percent(FAILED_SHARE)} failed",
        ),
    )


def _dimensions(names: Names) -> list[dict[str, str]]:
    return [
        {"Name": "EndpointName", "Value": names.deployment},
        {"Name": "VariantName", "Value": VARIANT},
    ]

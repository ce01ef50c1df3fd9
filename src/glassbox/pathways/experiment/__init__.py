"""The patching study that comes before the plan: six conditions, sampled trials, planted truth."""

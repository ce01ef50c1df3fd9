output "topic_arn" {
  description = "Where alarms are published."
  value       = aws_sns_topic.this.arn
}

output "dashboard_name" {
  description = "Name of the dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "rollback_alarms" {
  description = "Names of the alarms that undo an update of the endpoint."
  value       = [aws_cloudwatch_metric_alarm.p99.alarm_name, aws_cloudwatch_metric_alarm.errors.alarm_name]
}

"""What Prometheus and Grafana take of Glassbox: rules and a dashboard."""

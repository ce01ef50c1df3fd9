"""How the Grafana dashboard in ``infra/`` was made; run it again after metrics change."""

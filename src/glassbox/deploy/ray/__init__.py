"""Ray Serve: the server of a bundle in several replicas on a cluster, with the same HTTP face."""

from glassbox.deploy.ray.cluster import Cluster
from glassbox.deploy.ray.plan import RayPlan, Share
from glassbox.deploy.ray.serve_config import as_yaml, serve_config
from glassbox.deploy.ray.state import Deployed

__all__ = ["Cluster", "Deployed", "RayPlan", "Share", "as_yaml", "serve_config"]

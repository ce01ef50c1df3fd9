#!/bin/sh
# SageMaker runs `docker run IMAGE serve`; other words are options of `glassbox serve`. The shell is replaced, so that
# SIGTERM reaches the server, which has 30 seconds from then on.
set -eu
if [ "${1:-}" = serve ]; then
  shift
fi
exec glassbox serve --sagemaker "$@"

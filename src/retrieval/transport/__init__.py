"""The service over gRPC: fronts, servicers, checks, conversions, the table of errors."""

import os

# Read when grpc is loaded. Processes that the service starts are started by exec: what grpc would do around a fork, so
# that the child can go on using it, is for nothing, and it logs a line each time it cannot.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

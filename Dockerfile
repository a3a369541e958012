# The service without a database of its own: RETRIEVAL_DATABASE_URL names one. Needs BuildKit, Docker's builder since 23.

FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY sql sql
COPY src src
# The project's wheel and those of its dependencies, so that the next stage installs what was resolved here.
RUN pip wheel --no-cache-dir --wheel-dir /wheels ".[http,native,train]"

FROM python:3.13-slim
LABEL org.opencontainers.image.title="retrieval-service" \
      org.opencontainers.image.description="Vector retrieval over gRPC from PostgreSQL and pgvector" \
      org.opencontainers.image.licenses="Apache-2.0"
# Mounted, not copied: the wheels leave no layer behind.
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels /wheels/*.whl \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin retrieval \
    && install --directory --owner=10001 /var/cache/retrieval
# Log lines reach the collector as they are written.
ENV PYTHONUNBUFFERED=1
# The cache's segments. Mount a volume here and a new container starts warm.
ENV RETRIEVAL_CACHE_DIR=/var/cache/retrieval
# By number: Kubernetes' runAsNonRoot cannot check a name.
USER 10001
EXPOSE 50051
STOPSIGNAL SIGTERM
# Asks grpc.health.v1 and exits 0 when it says SERVING. The first start migrates the database.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["retrieval", "health"]
# Without a shell in between, SIGTERM reaches the service, which stops taking calls and finishes the running ones.
ENTRYPOINT ["retrieval"]
CMD ["serve", "--host", "0.0.0.0"]

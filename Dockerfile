# One image for the API and the workers; docker-compose.yml says which runs what.
FROM python:3.11-slim-bookworm AS build

# The package index torch comes from; empty takes pip's own. A CPU worker is gigabytes smaller
# with an index of CPU builds.
ARG TORCH_INDEX=""

RUN python -m venv /opt/evalmode \
    && /opt/evalmode/bin/pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
        torch==2.13.0
WORKDIR /src
COPY pyproject.toml requirements.lock README.md ./
COPY api api
COPY core core
COPY evalmode evalmode
COPY model model
COPY worker worker
RUN /opt/evalmode/bin/pip install --no-cache-dir --constraint requirements.lock .

FROM python:3.11-slim-bookworm

RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin evalmode \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /opt/evalmode /opt/evalmode

ENV PATH=/opt/evalmode/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    EVALMODE_DATA=/data
USER 10001:10001
WORKDIR /
VOLUME /data
CMD ["python", "-m", "api"]

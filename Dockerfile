# syntax=docker/dockerfile:1

# Python, with its module for environments: any base on glibc will do, pinned by a tag or by a digest.
ARG BASE=docker.io/library/python:3.13-slim-trixie

# ---- the environment, with every download checked against the lock files
FROM ${BASE} AS build
# Where downloads come from: these three are pip's own. Wheels in dist/wheels are looked at too (see scripts/image).
ARG PIP_INDEX_URL=
ARG PIP_NO_INDEX=
ARG PIP_FIND_LINKS=/context/dist/wheels
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN --mount=type=bind,target=/context \
    python3 -m venv /opt/build \
    && /opt/build/bin/pip install --quiet --only-binary :all: --require-hashes -r /context/requirements-build.lock \
    && python3 -m venv --without-pip /opt/k2alert \
    && /opt/build/bin/pip --python /opt/k2alert/bin/python3 install --quiet --only-binary :all: --require-hashes \
        -r /context/requirements.lock \
    && cp -r /context/k2alert /context/pyproject.toml /context/README.md /context/LICENSE /opt/build \
    && /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /opt/build/wheels /opt/build \
    && /opt/build/bin/pip --python /opt/k2alert/bin/python3 install --quiet --no-deps --no-index /opt/build/wheels/*.whl \
    && mkdir /opt/data

# ---- the image: Python, the environment, the shipped rules, and nobody's rights
FROM ${BASE}
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="k2alert" \
      org.opencontainers.image.description="The alerting daemon that CI deserves" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=build /opt/k2alert /opt/k2alert
COPY rules/*.yml /etc/k2alert/rules/
# The database of the default `store` is made here: mount a volume to keep it.
COPY --from=build --chown=65534:65534 /opt/data /data

ENV PATH=/opt/k2alert/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    K2ALERT_CONFIG=/etc/k2alert/k2alert.yml \
    K2ALERT_LISTEN=0.0.0.0:9725
USER 65534:65534
WORKDIR /data
VOLUME /data
EXPOSE 9725

# Neither a proxy nor a module beside the database may answer in its place, so http.client, and -I.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python3", "-I", "-c", \
    "import os, http.client as h; c = h.HTTPConnection(os.environ['K2ALERT_LISTEN'], timeout=4); c.request('GET', '/-/healthy'); raise SystemExit(c.getresponse().status != 200)"]

ENTRYPOINT ["k2alert"]
CMD ["run"]

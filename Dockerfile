# syntax=docker/dockerfile:1

ARG PYTHON_VERSION=3.13
ARG DEBIAN=trixie

# ---- the wheel and the environment, with every download checked against the lock files
FROM python:${PYTHON_VERSION}-slim-${DEBIAN} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

COPY requirements.lock requirements-build.lock ./
RUN pip install --require-hashes -r requirements-build.lock \
    && python -m venv --without-pip /opt/k2alert \
    && pip --python /opt/k2alert/bin/python install --only-binary :all: --require-hashes -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY k2alert k2alert
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/k2alert/bin/python install --no-deps --no-index /wheels/*.whl

# ---- the image: Python, the environment, the shipped rules, and nobody's rights
FROM python:${PYTHON_VERSION}-slim-${DEBIAN}
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="k2alert" \
      org.opencontainers.image.description="The alerting daemon that CI deserves" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=build /opt/k2alert /opt/k2alert
COPY rules /etc/k2alert/rules
# The database of the default `store` is made here: mount a volume to keep it.
RUN install -d -o 65534 -g 65534 /var/lib/k2alert

ENV PATH=/opt/k2alert/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    K2ALERT_CONFIG=/etc/k2alert/k2alert.yml \
    K2ALERT_LISTEN=0.0.0.0:9725
USER 65534:65534
WORKDIR /var/lib/k2alert
VOLUME /var/lib/k2alert
EXPOSE 9725

# The port is read from $K2ALERT_LISTEN, so that it may be changed in one place.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen('http://127.0.0.1:%s/-/healthy' % os.environ['K2ALERT_LISTEN'].rpartition(':')[2], timeout=4)"]

ENTRYPOINT ["k2alert"]
CMD ["run"]

# The control plane. Targets: `overlord`, `operator`, and `trial` (PostgreSQL and an S3 server for trial installations).
#
#     docker build --target overlord -t nemeton-overlord .
#     docker build --target operator -t nemeton-operator .
#     docker build --target trial    -t nemeton-trial .
#
# BASE_IMAGE is any image whose `python3` is 3.11 or newer and has venv and pip; the finished image has neither pip nor
# a compiler. An index of one's own is named by PIP_INDEX_URL and its like, or, where it asks for a password, by a
# pip.conf given as the build secret `pip.conf`; neither stays in the image.
ARG BASE_IMAGE=python:3.11-slim-bookworm


# ---- tools: what builds the images, never in them ----
FROM ${BASE_IMAGE} AS tools
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_CERT
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY images/tools.txt images/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv tools \
 && tools/bin/pip install --quiet --require-hashes --only-binary :all: -r images/tools.txt


# ---- wheel: our own code, once for all roles ----
FROM tools AS wheel
COPY LICENSE README.md pyproject.toml ./
COPY api api
COPY cli cli
COPY core core
COPY operator operator
COPY peon-image peon-image
RUN tools/bin/hatchling build --target wheel --directory dist


# ---- the environment of each role: exactly what uv.lock says, checked by hash, never compiled from source ----
FROM tools AS overlord-environment
COPY pyproject.toml uv.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    tools/bin/uv export --quiet --frozen --no-dev --no-emit-project --extra api --extra tracing \
    --output-file requirements.txt \
 && python3 -m venv --without-pip /opt/nemeton \
 && tools/bin/pip --python /opt/nemeton/bin/python install --quiet --no-deps --no-compile \
    --require-hashes --only-binary :all: -r requirements.txt
COPY images/keep_rooms.py images/
COPY --from=wheel /build/dist dist
RUN tools/bin/pip --python /opt/nemeton/bin/python install --quiet --no-deps --no-compile --no-index dist/*.whl \
 && /opt/nemeton/bin/python images/keep_rooms.py druid_core overlord nemeton \
 && tools/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
    --output-file /opt/nemeton/sbom.cdx.json /opt/nemeton/bin/python \
 && /opt/nemeton/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/nemeton/lib

FROM tools AS operator-environment
COPY pyproject.toml uv.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    tools/bin/uv export --quiet --frozen --no-dev --no-emit-project --extra operator --output-file requirements.txt \
 && python3 -m venv --without-pip /opt/nemeton \
 && tools/bin/pip --python /opt/nemeton/bin/python install --quiet --no-deps --no-compile \
    --require-hashes --only-binary :all: -r requirements.txt
COPY images/keep_rooms.py images/
COPY --from=wheel /build/dist dist
RUN tools/bin/pip --python /opt/nemeton/bin/python install --quiet --no-deps --no-compile --no-index dist/*.whl \
 && /opt/nemeton/bin/python images/keep_rooms.py druid_core overlord_operator nemeton \
 && tools/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
    --output-file /opt/nemeton/sbom.cdx.json /opt/nemeton/bin/python \
 && /opt/nemeton/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/nemeton/lib

FROM tools AS trial-environment
COPY images/trial.txt images/trial.py images/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv --without-pip /opt/nemeton \
 && tools/bin/pip --python /opt/nemeton/bin/python install --quiet --no-deps --no-compile \
    --require-hashes --only-binary :all: -r images/trial.txt \
 && cp images/trial.py /opt/nemeton/ \
 && tools/bin/cyclonedx-py environment --output-reproducible \
    --output-file /opt/nemeton/sbom.cdx.json /opt/nemeton/bin/python \
 && /opt/nemeton/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/nemeton


# ---- the images: no shell is needed, at their build or later; the root file system may be read-only ----
FROM ${BASE_IMAGE} AS overlord
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="nemeton-overlord" \
      org.opencontainers.image.description="An Apache-Druid-compatible Overlord" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY images/finish.py /
RUN ["python3", "/finish.py"]
COPY --from=overlord-environment /opt/nemeton /opt/nemeton
ENV PATH=/opt/nemeton/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 65532:65532
RUN ["python", "-c", "import overlord.server, overlord.app, nemeton.main, nemeton.client.submit, opentelemetry.exporter.otlp.proto.http"]
RUN ["python", "-c", "import sys, importlib.util as u; sys.exit([n for n in ('kubernetes', 'kopf', 'pyarrow', 'overlord_operator', 'peon', 'pip') if u.find_spec(n)] or 0)"]
ENV NEMETON_HOST=0.0.0.0 NEMETON_PORT=8090
EXPOSE 8090
ENTRYPOINT ["python", "-m", "overlord.server"]

FROM ${BASE_IMAGE} AS operator
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="nemeton-operator" \
      org.opencontainers.image.description="Runs the tasks of a Nemeton Overlord as pods" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY images/finish.py /
RUN ["python3", "/finish.py"]
COPY --from=operator-environment /opt/nemeton /opt/nemeton
ENV PATH=/opt/nemeton/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 65532:65532
RUN ["python", "-c", "import overlord_operator.__main__, nemeton.main"]
RUN ["python", "-c", "import sys, importlib.util as u; sys.exit([n for n in ('asyncpg', 'fastapi', 'pyarrow', 'overlord', 'peon', 'pip') if u.find_spec(n)] or 0)"]
EXPOSE 8080
ENTRYPOINT ["python", "-m", "overlord_operator"]

FROM ${BASE_IMAGE} AS trial
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="nemeton-trial" \
      org.opencontainers.image.description="PostgreSQL and an S3 server for trying Nemeton; not for data that matters" \
      org.opencontainers.image.version="${VERSION}"
COPY images/finish.py /
RUN ["python3", "/finish.py"]
COPY --from=trial-environment /opt/nemeton /opt/nemeton
ENV PATH=/opt/nemeton/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 65532:65532
RUN ["python", "/opt/nemeton/trial.py", "check"]
EXPOSE 5432 8333
ENTRYPOINT ["python", "/opt/nemeton/trial.py"]

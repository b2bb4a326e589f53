# An image with the program and its pinned dependencies, nothing else. It runs as nobody in particular, with a read-only
# root if asked, and writes only to /var/cache/rangecache.
#
#   docker build -t rangecache .
#   docker run --rm --network host rangecache
#
# The program listens on loopback unless a configuration says otherwise, so a container with a network of its own needs
# one: mount it and end the line with `serve --config /etc/rangecache.yaml`.

FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/rangecache
COPY requirements/runtime.txt requirements/
RUN /opt/rangecache/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY rangecache rangecache
RUN /opt/rangecache/bin/pip install --no-cache-dir --no-build-isolation --no-deps . \
    && /opt/rangecache/bin/pip uninstall --yes setuptools pip

FROM python:3.11-slim
COPY --from=build /opt/rangecache /opt/rangecache
# The number is what a `runAsNonRoot` check can read; a name would not do.
RUN install --directory --owner 65532 --group 65532 --mode 0700 /var/cache/rangecache
ENV PATH=/opt/rangecache/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    RANGECACHE_CACHE__DISK__PATH=/var/cache/rangecache
USER 65532:65532
VOLUME /var/cache/rangecache
EXPOSE 8080 8081
ENTRYPOINT ["rangecache"]
CMD ["serve"]

# The daemon and latentctl with its load client, built from source. The image that runs them has no build tools, needs
# no file system to write to and no privileges.
#
#   docker build -t latentd .                                             the model is mounted at /model
#   docker build -t latentd --target with-model --build-arg MODEL=models/tiny-tales .        the model is in the image
#
# Pin the base with --build-arg BASE=docker.io/library/debian@sha256:DIGEST; both stages use the same one.
ARG BASE=docker.io/library/debian:bookworm-slim

# Another one may take its place: with --build-context build=DIRECTORY, where programs/ is in that directory, nothing
# here runs.
FROM ${BASE} AS build
WORKDIR /source
COPY scripts/install-packages.sh scripts/
RUN scripts/install-packages.sh build
COPY CMakeLists.txt CMakePresets.json ./
COPY cmake cmake
COPY base base
COPY jinja jinja
COPY kernels kernels
COPY engine engine
COPY proto proto
COPY server server
COPY tools tools
RUN cmake --preset release -DLATENTD_TESTS=OFF >/dev/null
# The compiler's cache outlives the layer: after a change only what changed is compiled again.
RUN --mount=type=cache,target=/root/.cache/ccache \
    ninja -C build/release latentd latentctl latentctl-load latentctl-doctor \
 && strip build/release/bin/latentd build/release/bin/latentctl build/release/bin/latentctl-load \
      build/release/bin/latentctl-doctor \
 && mv build/release/bin /programs \
 && rm -r build

FROM ${BASE} AS daemon
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
      libcpp-httplib0.11 libgrpc++1.51 libhwy1 libpcre2-8-0 libprometheus-cpp-core1.0 libprotobuf32 libsimdjson14 \
      libspdlog1.10 libtomlplusplus3 libzmq5 >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/lib/dpkg/*-old /var/log/*
COPY --from=build /programs/ /usr/local/bin/
# Nothing outside a container reaches its loopback. The admin service stays off unless it is given an address.
ENV LATENTD_MODEL=/model LATENTD_LISTEN=[::]:50051 LATENTD_METRICS_LISTEN=[::]:9090
EXPOSE 50051 9090
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["latentd"]
# Liveness: engines restart or replace what is unhealthy, which helps neither a model that loads nor a drain. The daemon
# listens from the first moment, so the start period is only that of the process.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 \
    CMD ["latentctl", "health", "latentd.liveness", "--timeout", "4"]
ARG BASE
LABEL org.opencontainers.image.title="latentd" \
      org.opencontainers.image.description="gRPC serving of DeepSeek-architecture language models" \
      org.opencontainers.image.base.name="${BASE}"

FROM daemon AS model
ARG MODEL=models/tiny-tales
# Also here because buildah's cache compares the arguments of RUN alone: a model of another name is another layer.
RUN test -n "${MODEL}"
COPY ${MODEL} /${MODEL}
ENV LATENTD_MODEL=/${MODEL}

# Empty, so that the labels of the command line never come from the cache. The last one is what a build without --target
# makes.
FROM model AS with-model

FROM daemon AS runtime

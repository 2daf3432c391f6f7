# The daemon and latentctl with its load client, built from source. The image that runs them has no build tools, needs
# no file system to write to and no privileges.
#
#   docker build -t latentd .                                             the model is mounted at /model
#   docker build -t latentd --target with-model --build-arg MODEL=models/tiny-tales .        the model is in the image
#
#   docker build -t latentd --target with-cuda --build-arg CUDA=on .      with the backend for NVIDIA GPUs
#
# Pin the base with --build-arg BASE=docker.io/library/debian@sha256:DIGEST; both stages use the same one.
# SOURCE_DATE_EPOCH is the time that the bill of materials bears; scripts/image.sh gives the commit's, and builds images
# whose layers are the same again.
ARG BASE=docker.io/library/debian:bookworm-slim

# Another one may take its place: with --build-context build=DIRECTORY, where programs/ is in that directory, nothing
# here runs.
FROM ${BASE} AS build
WORKDIR /source
COPY scripts/install-packages.sh scripts/
RUN scripts/install-packages.sh build
# on: the backend for NVIDIA GPUs, too.
ARG CUDA=off
COPY scripts/install-nvcc.sh scripts/
RUN [ "${CUDA}" = off ] || scripts/install-nvcc.sh
COPY CMakeLists.txt CMakePresets.json ./
COPY cmake cmake
COPY base base
COPY jinja jinja
COPY kernels kernels
COPY engine engine
COPY proto proto
COPY server server
COPY tools tools
RUN cmake --preset release -DLATENTD_TESTS=OFF -DLATENTD_CUDA="${CUDA}" >/dev/null
# The compiler's cache outlives the layer: after a change only what changed is compiled again.
RUN --mount=type=cache,target=/root/.cache/ccache \
    ninja -C build/release latentd latentctl latentctl-load latentctl-doctor \
 && strip build/release/bin/latentd build/release/bin/latentctl build/release/bin/latentctl-load \
      build/release/bin/latentctl-doctor \
 && if [ "${CUDA}" = on ]; then ninja -C build/release latentd_cuda; fi \
 && mkdir -p /programs /cuda/bin /cuda/lib \
 && mv build/release/bin/latentd build/release/bin/latentctl* /programs \
 && if [ "${CUDA}" = on ]; then \
      strip -o /cuda/bin/liblatentd_cuda.so build/release/bin/liblatentd_cuda.so \
      && cp -L /usr/local/cuda/lib/libcudart.so.13 /cuda/lib; \
    fi \
 && rm -r build
COPY scripts/sbom.sh scripts/
RUN scripts/sbom.sh built-with >/built-with.tsv

FROM ${BASE} AS daemon
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
      libcpp-httplib0.11 libgrpc++1.51 libhwy1 libpcre2-8-0 libprometheus-cpp-core1.0 libprotobuf32 libsimdjson14 \
      libspdlog1.10 libtomlplusplus3 libzmq5 >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/cache/ldconfig/* \
      /var/lib/dpkg/*-old /var/log/*
COPY --from=build /programs/ /usr/local/bin/
COPY --from=build /built-with.tsv /usr/local/share/doc/latentd/
ARG VERSION=0 SOURCE_DATE_EPOCH=0
RUN --mount=type=bind,source=scripts/sbom.sh,target=/run/sbom.sh \
    sh /run/sbom.sh image "${VERSION}" "${SOURCE_DATE_EPOCH}" /usr/local/share/doc/latentd/built-with.tsv \
      /usr/local/bin >/usr/local/share/doc/latentd/sbom.cdx.json
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

# The driver's libraries come from the host: NVIDIA's container runtime mounts them.
FROM daemon AS with-cuda
COPY --from=build /cuda/bin/ /usr/local/bin/
COPY --from=build /cuda/lib/ /usr/local/lib/
USER 0
RUN test -f /usr/local/bin/liblatentd_cuda.so || { echo "with-cuda: expected --build-arg CUDA=on" >&2; exit 1; }
RUN ldconfig && rm -f /var/cache/ldconfig/*
ARG VERSION=0 SOURCE_DATE_EPOCH=0
RUN --mount=type=bind,source=scripts/sbom.sh,target=/run/sbom.sh \
    sh /run/sbom.sh image "${VERSION}" "${SOURCE_DATE_EPOCH}" /usr/local/share/doc/latentd/built-with.tsv \
      /usr/local/bin /usr/local/lib/libcudart.so.13 >/usr/local/share/doc/latentd/sbom.cdx.json
USER 10001:10001
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

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

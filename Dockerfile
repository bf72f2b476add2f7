# "docker build ." builds the exporter's image, "docker build --target demo ." the image of examples/demo, which needs
# no API token. Where proxy.golang.org is blocked: --build-arg GOPROXY=https://goproxy.cn,direct

# Compiles on the builder's own platform for the platform of the image, without emulation. "go build" downloads only
# the modules that it compiles; they are cached between builds and are not part of a layer.
FROM --platform=$BUILDPLATFORM golang:1.26 AS source
ARG GOPROXY
ENV CGO_ENABLED=0
WORKDIR /src
RUN mkdir -p -m 0700 /root-directory/data
COPY . .

FROM source AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=unknown
ARG REVISION=unknown
ARG BRANCH=unknown
ARG BUILD_DATE=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -o /bilibili_exporter -ldflags "-s -w \
    -X github.com/prometheus/common/version.Version=$VERSION \
    -X github.com/prometheus/common/version.Revision=$REVISION \
    -X github.com/prometheus/common/version.Branch=$BRANCH \
    -X github.com/prometheus/common/version.BuildUser=docker \
    -X github.com/prometheus/common/version.BuildDate=$BUILD_DATE" .

FROM source AS build-demo
ARG TARGETOS
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -o /demo -ldflags "-s -w" ./examples/demo

# The stand-in API of the demo listens on the container's loopback interface and cannot be reached from outside.
FROM scratch AS demo
COPY --from=build-demo /demo /demo
USER 65534:65534
EXPOSE 12233
ENTRYPOINT ["/demo"]
CMD ["-web.listen-address=0.0.0.0:12233"]

# The exporter's image is the last stage, the default target. It works with a read-only root file system, because
# the exporter writes only to /data.
FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="bilibili_exporter" \
      org.opencontainers.image.description="Prometheus exporter of Bilibili follower counts" \
      org.opencontainers.image.source="https://github.com/bilibili-exporter/bilibili_exporter" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /bilibili_exporter /bilibili_exporter
COPY --from=build --chown=65534:65534 /root-directory /
USER 65534:65534
VOLUME /data
EXPOSE 12233
WORKDIR /
ENTRYPOINT ["/bilibili_exporter"]

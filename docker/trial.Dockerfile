# What docker/compose.yaml puts around the image of docker/Dockerfile, to try it without Amberflo and AWS: an S3 server
# with a bucket as Amberflo grants it, the stand-in that reads it as Amberflo does, and an application that logs. For
# trials and tests only: the credentials are public.
ARG GO_IMAGE=golang:1.26.8-bookworm

FROM ${GO_IMAGE} AS build
ENV CGO_ENABLED=0
WORKDIR /src
COPY test/tools/versitygw test/tools/versitygw
RUN go build -C test/tools/versitygw -trimpath -ldflags '-s -w' -o /out/versitygw github.com/versity/versitygw/cmd/versitygw
COPY go.mod go.sum ./
RUN go mod download
COPY test/s3server test/s3server
COPY test/amberflo test/amberflo
COPY test/accesslog test/accesslog
COPY test/encode test/encode
RUN go build -trimpath -ldflags '-s -w' -o /out/ ./test/s3server/cmd/s3server ./test/amberflo/cmd/amberflo-standin ./test/accesslog/cmd/accesslog \
    && mkdir /out/data

FROM scratch AS bucket
COPY --from=build /out/versitygw /out/s3server /bin/
COPY --from=build --chown=65532:65532 /out/data /data
ENV VERSITYGW=/bin/versitygw
VOLUME /data
USER 65532:65532
EXPOSE 7070
ENTRYPOINT ["/bin/s3server", "-dir", "/data", "-listen", "0.0.0.0:7070"]

FROM scratch AS standin
COPY --from=build /out/amberflo-standin /bin/
USER 65532:65532
ENTRYPOINT ["/bin/amberflo-standin"]

FROM scratch AS app
COPY --from=build /out/accesslog /bin/
COPY --from=build --chown=65532:65532 /out/data /logs
VOLUME /logs
USER 65532:65532
ENTRYPOINT ["/bin/accesslog"]

# syntax=docker/dockerfile:1
# Two stages: the tools that build stay behind. No database inside: set DATABASE_URL.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
RUN apt-get update && apt-get install -y --no-install-recommends nodejs npm && rm -rf /var/lib/apt/lists/*
COPY . .
# The page's libraries are copied into static/ before they are embedded.
RUN make assets && cargo build --release --locked --bin lastword && strip target/release/lastword

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/lastword --create-home lastword
COPY --from=build /src/target/release/lastword /usr/local/bin/lastword
USER 10001
VOLUME /var/lib/lastword
EXPOSE 7878
ENV LASTWORD_LISTEN=0.0.0.0:7878 LASTWORD_DATA_DIR=/var/lib/lastword
# The process is PID 1 and takes SIGTERM itself: it drains before it ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/lastword"]
CMD ["serve"]

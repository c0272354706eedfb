# Small images without a compiler, run by a user without rights. One build, a target for each binary:
#   docker build --target worker -t handrail-worker .

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bins

FROM debian:bookworm-slim AS base
# Roots of trust for brokers, databases, models and channels behind TLS.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/handrail --create-home handrail
COPY --from=build /src/target/release/ingress /src/target/release/worker /src/target/release/recall \
     /src/target/release/handrail /usr/local/bin/
# A volume mounted here takes this folder's owner and mode.
RUN install --directory --owner handrail --mode 0700 /var/lib/handrail/spool
USER handrail
# Relative paths, of an embedded queue or store for instance, begin here.
WORKDIR /var/lib/handrail

FROM base AS ingress
ENTRYPOINT ["ingress"]

FROM base AS worker
ENTRYPOINT ["worker"]

FROM base AS recall
ENTRYPOINT ["recall"]

FROM base AS handrail
ENTRYPOINT ["handrail"]

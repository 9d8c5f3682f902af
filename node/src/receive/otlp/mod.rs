//! OTLP: decoded into observations ([`decode`]), served over gRPC ([`grpc`]) and HTTP ([`http`]) by one [`intake`];
//! and remote write of Prometheus on the port of HTTP ([`mod@write`]).

mod body;
mod decode;
mod export;
mod failure;
mod grpc;
mod http;
mod intake;
mod json;
mod origin;
mod server;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
mod weigh;
mod write;

pub(crate) use server::{OtlpPorts, serve};

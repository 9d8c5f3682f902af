//! OTLP: decoded into observations ([`decode`]), served over gRPC ([`grpc`]) and HTTP ([`http`]) by one [`intake`].

mod body;
mod decode;
mod failure;
mod grpc;
mod http;
mod intake;
mod origin;
mod server;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
mod weigh;

pub(crate) use server::{OtlpPorts, serve};

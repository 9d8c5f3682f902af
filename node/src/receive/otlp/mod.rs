//! OTLP: decoded into observations ([`decode`]), served over gRPC ([`grpc`]).

mod decode;
mod grpc;
mod origin;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use grpc::serve;

//! Measures the requests of our own gRPC server.
//!
//! What counts as one request: a unary call, with the time to its answer; a frame on a node's stream, with the time to
//! decode and offer it (recorded by the session). Streams themselves only count as active while they are open; what
//! is sent on them is no request. Streams between aggregators, health and reflection are not counted.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use starling_service::requests::{Protocol, RequestMeter};
use tonic::{
    Code, Status,
    codegen::http::{Request, Response},
};
use tower::{Layer, Service};

/// Prefixes of the paths of unary calls that are counted.
const UNARY: [&str; 3] = ["/starling.v1.Query/Get", "/starling.v1.Query/List", "/starling.v1.Cluster/"];

/// See the module.
#[derive(Clone)]
pub(crate) struct MeterLayer(pub(crate) RequestMeter);

impl<S> Layer<S> for MeterLayer {
    type Service = Metered<S>;

    fn layer(&self, inner: S) -> Metered<S> {
        Metered { inner, meter: self.0.clone() }
    }
}

/// A service whose unary calls are measured.
#[derive(Clone)]
pub(crate) struct Metered<S> {
    inner: S,
    meter: RequestMeter,
}

impl<S, B, R> Service<Request<B>> for Metered<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        let open = UNARY.iter().any(|prefix| path.starts_with(prefix)).then(|| self.meter.open(Protocol::Grpc));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if let Some(open) = open {
                open.served(answer.as_ref().map_or(true, |response| failed(response)));
            }
            answer
        })
    }
}

/// Whether the call failed by our fault. An error is reported in the headers of an answer without a body; the codes are
/// those that the semantic conventions of OpenTelemetry count as errors of a server.
fn failed<R>(response: &Response<R>) -> bool {
    Status::from_header_map(response.headers()).is_some_and(|status| {
        matches!(
            status.code(),
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_faults_are_failures() {
        let response = |status: Option<Status>| {
            let mut response = Response::new(());
            if let Some(status) = status {
                status.add_header(response.headers_mut()).unwrap();
            }
            response
        };
        assert!(!failed(&response(None)));
        assert!(!failed(&response(Some(Status::not_found("x")))));
        assert!(!failed(&response(Some(Status::invalid_argument("x")))));
        assert!(failed(&response(Some(Status::internal("x")))));
        assert!(failed(&response(Some(Status::unavailable("x")))));
    }
}

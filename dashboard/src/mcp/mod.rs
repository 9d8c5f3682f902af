//! `/mcp`: the Model Context Protocol over streamable HTTP, for an assistant that asks what is wrong. Read-only: each tool is a
//! question to one of the JSON endpoints, and its answer what matters of theirs in at most [`ANSWER_BYTES_MAX`].
//!
//! - [`tools`]: what there is to ask, and of which endpoint;
//! - [`shape`]: what is kept of an answer.
//!
//! Without sessions: a request is answered and forgotten, so nothing is held for who does not come back.

mod shape;
mod tools;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Uri, header},
    response::Response,
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, InitializeResult,
        JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities, Tool, ToolAnnotations,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use serde_json::Value;
use tower::ServiceExt as _;

use tools::{TOOLS, ToolSpec};

/// Where it is served.
pub(crate) const PATH: &str = "/mcp";
/// Bytes of an answer: some 600 tokens.
const ANSWER_BYTES_MAX: usize = 2_000;
/// Bytes of a request: a name and some texts.
const REQUEST_BYTES_MAX: usize = 16 << 10;
/// Bytes that an endpoint may answer with: the table of 10,000 nodes is 6 MB.
const ENDPOINT_BYTES_MAX: usize = 32 << 20;
const INSTRUCTIONS: &str = "A cluster monitor. Begin with whats_wrong. Numbers are of the last second, minute or range they name; null \
     means that nothing is known. Latencies are in microseconds. leftOut says how much of a list is not shown.";

/// The server at [`PATH`], which asks `endpoints`. Names in `Host` and `Origin` are checked before it, for all that is served.
pub(crate) fn router(endpoints: Router) -> Router {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_sse_keep_alive(None)
        .with_max_request_body_bytes(REQUEST_BYTES_MAX)
        .disable_allowed_hosts()
        .disable_allowed_origins();
    let asker = Asker { endpoints };
    let service =
        StreamableHttpService::new(move || Ok(asker.clone()), Arc::new(NeverSessionManager::default()), config);
    Router::new().route_service(PATH, service)
}

/// Answers one request.
#[derive(Clone)]
struct Asker {
    endpoints: Router,
}

impl Asker {
    /// What the endpoint of `tool` says, short; the reason in words when it refuses.
    async fn ask(&self, tool: &ToolSpec, arguments: &JsonObject) -> Result<String, String> {
        let uri = tool.uri(arguments)?.parse::<Uri>().map_err(|error| error.to_string())?;
        let request = Request::get(uri).header(header::ACCEPT, "application/json").body(Body::empty());
        let request = request.map_err(|error| error.to_string())?;
        let response: Response = match self.endpoints.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let fine = response.status().is_success();
        let bytes = to_bytes(response.into_body(), ENDPOINT_BYTES_MAX)
            .await
            .map_err(|_| format!("the answer has more than {ENDPOINT_BYTES_MAX} bytes: ask for less"))?;
        let text = String::from_utf8_lossy(&bytes);
        let value = serde_json::from_str::<Value>(&text);
        match (fine, value) {
            (true, Ok(value)) => Ok(shape::fit((tool.shape)(&value, arguments), ANSWER_BYTES_MAX)),
            (true, Err(_)) => Ok(shape::cut(&text, ANSWER_BYTES_MAX)),
            (false, Ok(error)) => Err(error["error"]["message"].as_str().unwrap_or("refused").to_owned()),
            (false, Err(_)) => Err(shape::cut(&text, ANSWER_BYTES_MAX)),
        }
    }
}

impl ServerHandler for Asker {
    fn get_info(&self) -> InitializeResult {
        let mut info = InitializeResult::new(ServerCapabilities::builder().enable_tools().build());
        info.server_info = Implementation::new("starling", env!("CARGO_PKG_VERSION"));
        info.instructions = Some(INSTRUCTIONS.to_owned());
        info
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let read_only = ToolAnnotations::new().read_only(true).open_world(false);
        let tool =
            |spec: &ToolSpec| Tool::new(spec.name, spec.about, spec.schema()).with_annotations(read_only.clone());
        Ok(ListToolsResult::with_all_items(TOOLS.iter().map(tool).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = TOOLS.iter().find(|tool| tool.name == request.name) else {
            let known: Vec<_> = TOOLS.iter().map(|tool| tool.name).collect();
            let name: String = request.name.chars().take(64).collect();
            return Err(ErrorData::invalid_params(
                format!("no tool is called {name:?}, there are {}", known.join(", ")),
                None,
            ));
        };
        let answer = self.ask(tool, &request.arguments.unwrap_or_default()).await;
        let result = match answer {
            Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
            Err(why) => CallToolResult::error(vec![ContentBlock::text(why)]),
        };
        Ok(result.into())
    }
}

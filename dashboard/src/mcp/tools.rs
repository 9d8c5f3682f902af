//! What there is to ask. Pure.

use rmcp::model::JsonObject;
use serde_json::{Value, json};

use super::shape;

/// Longest argument.
const ARGUMENT_LEN_MAX: usize = 256;

/// An argument: its name, the parameter of the endpoint that it becomes (empty: only for the shape), and what it is.
type Argument = (&'static str, &'static str, &'static str);

/// A tool: which endpoint it asks, with what, and what is kept of the answer.
pub(super) struct ToolSpec {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Path, with parameters that are always asked for.
    path: &'static str,
    arguments: &'static [Argument],
    pub(super) shape: fn(&Value, &JsonObject) -> Value,
}

const GROUP: Argument = ("group", "group", "label:value, such as zone:a; the whole cluster without it");
const NODE: Argument = ("node", "node", "the name of one node; not together with group");
const METRIC: Argument =
    ("metric", "metric", "latency, throughput, errors, errorRatio, connections, cpu, memory, or the name of a series");
const RANGE: Argument = ("range", "range", "how far back, such as 15m, 6h, 7d");

/// All tools: at most ten, or an assistant reads more about them than from them.
pub(super) const TOOLS: [ToolSpec; 9] = [
    ToolSpec {
        name: "whats_wrong",
        about: "The verdict on the cluster, a group or a node, the figures behind it and the open alerts. Begin here.",
        path: "/api/v1/verdict",
        arguments: &[GROUP, NODE],
        shape: shape::as_it_is,
    },
    ToolSpec {
        name: "alerts",
        about: "Open alerts: severity, rule, whom they are about, since when, value and limit, what to do.",
        path: "/api/v1/alerts/performance",
        arguments: &[GROUP, NODE],
        shape: shape::alerts,
    },
    ToolSpec {
        name: "nodes",
        about: "Nodes with CPU, memory, requests, errors and p99 of the last second, the highest first.",
        path: "/api/v1/nodes",
        arguments: &[
            GROUP,
            (
                "sortBy",
                "",
                "cpuUtilizationRatio, memoryUsedRatio, requestsPerSecond, errorsPerSecond or p99Micros; without it those that are not reporting, then by name",
            ),
        ],
        shape: shape::nodes,
    },
    ToolSpec {
        name: "services",
        about: "Services with requests, failed share and latency of the last minute, the busiest first.",
        path: "/api/v1/services",
        arguments: &[("service", "service", "one service, with its routes")],
        shape: shape::services,
    },
    ToolSpec {
        name: "odd_one_out",
        about: "Nodes whose values are beyond those of their peers, since when, the oddest first.",
        path: "/api/v1/outliers?top=10",
        arguments: &[GROUP, ("metric", "metric", "latency, or the name of any histogram")],
        shape: shape::rows,
    },
    ToolSpec {
        name: "what_differs",
        about: "Which nodes, labels, protocols, services and routes make the slow requests (or those in a box of seconds and values), \
            against the rest, with counts, lift and significance.",
        path: "/api/v1/differ?top=10",
        arguments: &[
            GROUP,
            METRIC,
            RANGE,
            (
                "lower",
                "lower",
                "smallest value in the box, latencies in microseconds; without it the slowest hundredth",
            ),
            ("upper", "upper", "values in the box are smaller"),
            ("boxFrom", "boxFrom", "first second of the box, such as now-2m"),
            ("boxTo", "boxTo", "last second of the box, such as now-1m"),
        ],
        shape: shape::rows,
    },
    ToolSpec {
        name: "history",
        about: "Average, peak with its time, low and deviation of a metric over a range, the period before and a week ago, and what \
            stands out.",
        path: "/api/v1/metrics/historical?points=30",
        arguments: &[METRIC, RANGE, GROUP, NODE],
        shape: shape::history,
    },
    ToolSpec {
        name: "series",
        about: "Names of the series there are of the cluster, a group or a node.",
        path: "/api/v1/series",
        arguments: &[GROUP, NODE, ("contains", "", "only names that hold this text")],
        shape: shape::series,
    },
    ToolSpec {
        name: "cluster",
        about: "The aggregators: who is there, what each holds, and which one is read.",
        path: "/api/v1/cluster",
        arguments: &[],
        shape: shape::as_it_is,
    },
];

impl ToolSpec {
    /// What it takes, as JSON Schema.
    pub(super) fn schema(&self) -> JsonObject {
        let property = |(name, _, about): &Argument| {
            ((*name).to_owned(), json!({ "type": ["string", "number"], "description": about }))
        };
        let properties: JsonObject = self.arguments.iter().map(property).collect();
        let schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        schema.as_object().cloned().unwrap_or_default()
    }

    /// The question to the endpoint.
    ///
    /// # Errors
    /// Which argument is not known, too long, or no text or number.
    pub(super) fn uri(&self, arguments: &JsonObject) -> Result<String, String> {
        let (path, always) = self.path.split_once('?').unwrap_or((self.path, ""));
        let mut query = form_urlencoded::Serializer::new(always.to_owned());
        for (name, value) in arguments {
            let known = self.arguments.iter().find(|(known, _, _)| known == name);
            let Some((_, parameter, _)) = known else {
                let name: String = name.chars().take(64).collect();
                let all: Vec<_> = self.arguments.iter().map(|(name, _, _)| *name).collect();
                return Err(format!("{name:?} is no argument of {}, there are: {}", self.name, all.join(", ")));
            };
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => {
                    return Err(format!("{name}: a text or number is wanted"));
                }
            };
            if text.len() > ARGUMENT_LEN_MAX {
                return Err(format!("{name}: {} bytes, at most {ARGUMENT_LEN_MAX}", text.len()));
            }
            if !parameter.is_empty() && !text.is_empty() {
                query.append_pair(parameter, &text);
            }
        }
        let query = query.finish();
        Ok(if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(of: &Value) -> JsonObject {
        of.as_object().cloned().unwrap()
    }

    #[test]
    fn a_question_is_an_endpoints_with_every_argument_escaped() {
        let tool = |name: &str| TOOLS.iter().find(|tool| tool.name == name).unwrap();
        let uri = tool("what_differs").uri(&arguments(&json!({ "lower": 250_000, "group": "zone:a&top=1" }))).unwrap();
        assert_eq!(uri, "/api/v1/differ?top=10&group=zone%3Aa%26top%3D1&lower=250000");
        assert_eq!(tool("whats_wrong").uri(&arguments(&json!({}))).unwrap(), "/api/v1/verdict");
        assert_eq!(tool("nodes").uri(&arguments(&json!({ "sortBy": "p99Micros" }))).unwrap(), "/api/v1/nodes");
        let refused = |of: &Value| tool("history").uri(&arguments(of)).unwrap_err();
        assert!(
            refused(&json!({ "color": "red" })).starts_with("\"color\" is no argument of history, there are: metric")
        );
        assert!(refused(&json!({ "range": ["1h"] })).starts_with("range: a text or number"));
        assert!(refused(&json!({ "range": "x".repeat(300) })).starts_with("range: 300 bytes"));
    }

    #[test]
    fn there_are_at_most_ten_and_each_says_what_it_takes() {
        assert!(TOOLS.len() <= 10);
        for tool in TOOLS {
            let schema = Value::Object(tool.schema());
            assert_eq!(schema["properties"].as_object().unwrap().len(), tool.arguments.len());
        }
    }
}

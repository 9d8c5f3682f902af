//! Rows as lines of CSV by RFC 4180, and as objects of JSON.

use serde_json::{Map, Value, json};

use super::Row;
use crate::rest::{
    csv::{line, quoted},
    history::answer::number,
    time::rfc3339,
};

impl Row<'_> {
    /// Attributes as one text, such as `a=x;b=y`.
    pub(super) fn attributes(&self) -> String {
        self.key.1.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(";")
    }

    pub(super) fn csv_head(&self) -> String {
        let mut head = vec!["timestamp", "node", "name", "attributes", "unit"];
        head.extend(self.values.iter().map(|(name, _)| *name));
        head.extend(["seconds", "seconds_expected", "nodes_reporting", "nodes_expected", "missing"]);
        line(head.into_iter().map(quoted))
    }

    /// A field is empty when nothing is known.
    pub(super) fn csv(&self) -> String {
        let (node, attributes) = (&self.key.0, self.attributes());
        let count = |is: Option<u32>| is.map(|is| is.to_string()).unwrap_or_default();
        let value = |(_, value): &(&str, f64)| match number(*value, 1.0) {
            Value::Null => String::new(),
            known => known.to_string(),
        };
        let point = self.point;
        let fields = [rfc3339(point.tick), quoted(node), quoted(self.name), quoted(&attributes), quoted(self.unit)];
        let counts = [
            count(Some(point.seconds())),
            count(point.seconds_expected),
            count(point.nodes_reporting),
            count(point.nodes_expected),
            quoted(self.missing.unwrap_or_default()),
        ];
        line(fields.into_iter().chain(self.values.iter().map(value)).chain(counts))
    }

    pub(super) fn json(&self) -> Value {
        let (node, attributes) = self.key;
        let point = self.point;
        json!({
            "timestamp": rfc3339(point.tick),
            "nodeId": Some(node).filter(|id| !id.is_empty()),
            "name": self.name,
            "unit": self.unit,
            "attributes": attributes.iter().map(|(key, value)| (key.clone(), json!(value))).collect::<Map<_, _>>(),
            "values": self.values.iter().map(|(name, value)| ((*name).to_owned(), number(*value, 1.0))).collect::<Map<_, _>>(),
            "seconds": point.seconds(),
            "secondsExpected": point.seconds_expected,
            "nodesReporting": point.nodes_reporting,
            "nodesExpected": point.nodes_expected,
            "missing": self.missing,
        })
    }
}

#[cfg(test)]
mod tests {
    use starling_proto::v1;

    use super::*;

    #[test]
    fn fields_are_empty_where_nothing_is_known() {
        let key = ("n1".to_owned(), vec![("a".to_owned(), "x,y".to_owned()), ("b".to_owned(), "z".to_owned())]);
        let point = v1::RangePoint { tick: 0, seconds: Some(0), seconds_expected: Some(60), ..Default::default() };
        let values = [("mean", 0.0), ("max", f64::NAN)];
        let row = Row { name: "g", unit: "By", key: &key, point: &point, values: &values, missing: Some("a2 stopped") };
        assert_eq!(
            row.csv_head(),
            "timestamp,node,name,attributes,unit,mean,max,seconds,seconds_expected,nodes_reporting,nodes_expected,missing\r\n"
        );
        assert_eq!(row.csv(), "1970-01-01T00:00:00.000Z,n1,g,\"a=x,y;b=z\",By,0,,0,60,,,a2 stopped\r\n");
        assert_eq!(row.json()["values"], json!({"mean": 0, "max": null}));
    }
}

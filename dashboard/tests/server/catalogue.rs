//! What the page knows of the metrics is what the catalogue says.

use std::{fmt::Write as _, path::Path};

use starling_proto::catalogue::{Good, PROTOCOLS, Scope, Unit, charts};
use starling_service::generated;

/// The charts of the catalogue as the page reads them.
fn written() -> String {
    let union = |words: &[&str]| words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" | ");
    let units =
        [Unit::Number, Unit::Rate, Unit::Bytes, Unit::BytesPerSecond, Unit::Share, Unit::Time].map(Unit::as_str);
    let good = [Good::Up, Good::Down, Good::Neither].map(Good::as_str);
    let mut text = format!(
        "// Generated from the catalogue of metrics, proto/src/catalogue/table.rs. To write it again:\n\
         // STARLING_BLESS=1 cargo test -p starling-dashboard --test server catalogue\n\n\
         /** How values are written for people. */\n\
         export type Unit = {};\n\n\
         /** What a charted column is. */\n\
         export interface Chart {{\n  \
           /** Of its metric. */\n  title: string;\n  unit: Unit;\n  \
           /** Which direction is good. */\n  good: {};\n  \
           /** Charted for a single node only. */\n  ofNode: boolean;\n\
         }}\n\n\
         /** Every charted column, in the order in which they are sent. */\n\
         export const CHARTS = {{\n",
        union(&units),
        union(&good),
    );
    for (metric, chart) in charts() {
        let _ = writeln!(
            text,
            "  {:?}: {{ title: {:?}, unit: {:?}, good: {:?}, ofNode: {} }},",
            chart.name,
            metric.title,
            metric.shown_as.as_str(),
            metric.good.as_str(),
            chart.of_node || metric.scope == Scope::Node,
        );
    }
    let _ = write!(
        text,
        "}} as const satisfies Record<string, Chart>;\n\n\
         /** Name of a charted column. */\nexport type ChartName = keyof typeof CHARTS;\n\n\
         /** The protocols of requests, in the order of the catalogue. */\n\
         export const PROTOCOL_NAMES = {PROTOCOLS:?} as const;\n"
    );
    text
}

#[test]
fn the_page_has_the_charts_of_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui/src/gen/catalogue.ts");
    generated::is_current(&path, &written()).unwrap();
}

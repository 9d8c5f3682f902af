//! What the page knows of the metrics is what the catalogue says.

use std::{fmt::Write as _, path::Path};

use starling_dashboard::OF_A_MINUTE;
use starling_proto::catalogue::{Chart, Good, Metric, PROTOCOLS, Scope, Unit, charts};
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
         /** Every charted column, in the order in which they are sent; those of 60 merged seconds stand before those of a node only. */\n\
         export const CHARTS = {{\n",
        union(&units),
        union(&good),
    );
    let line = |name: &str, title: &str, unit: Unit, good: Good, of_node: bool| {
        let (unit, good) = (unit.as_str(), good.as_str());
        format!("  {name:?}: {{ title: {title:?}, unit: {unit:?}, good: {good:?}, ofNode: {of_node} }},\n")
    };
    let of_node = |metric: &Metric, chart: &Chart| chart.of_node || metric.scope == Scope::Node;
    let (shared, alone): (Vec<_>, Vec<_>) = charts().partition(|(metric, chart)| !of_node(metric, chart));
    let of_catalogue = |(metric, chart): (&Metric, &Chart)| {
        line(chart.name, metric.title, metric.shown_as, metric.good, of_node(metric, chart))
    };
    text.extend(shared.into_iter().map(of_catalogue));
    text.extend(OF_A_MINUTE.iter().map(|is| line(is.name, is.title, is.unit, is.good, false)));
    text.extend(alone.into_iter().map(of_catalogue));
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

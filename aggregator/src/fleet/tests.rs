//! Of the table and its differences together: what a reader holds is what the table says.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message as _;
use starling_proto::nodes::{Entry, Measure, Row};

use super::*;

/// Now, in the tests.
const NOW: u32 = 10_000;
const GENERATION: u64 = 7;

fn own() -> Source {
    Source { writer: WriterId::parse(&[1; 16]).unwrap(), own: true }
}

fn peer(n: u8) -> Source {
    Source { writer: WriterId::parse(&[n; 16]).unwrap(), own: false }
}

fn entry(name: &str, zone: &str, aggregator: &str) -> Arc<Entry> {
    let mut entry = Entry::of(name).unwrap();
    entry.labels = [("zone".to_owned(), zone.to_owned())].into();
    entry.aggregator = NodeId::parse(aggregator).ok();
    Arc::new(entry)
}

fn row(tick: u32, cpu: f64) -> Row {
    let mut row = Row::at(tick, 5);
    row.set(Measure::Cpu, Some(cpu));
    row.add_core(1, cpu);
    row.add_core(2, cpu / 2.0);
    row
}

fn table() -> Table {
    let mut table = Table::new(vec!["zone".to_owned()], 50);
    table.begin();
    table.set_live([own().writer, peer(2).writer, peer(3).writer].into());
    table
}

fn put(table: &mut Table, source: Source, entry: &Arc<Entry>, row: &Row) {
    table.begin();
    assert!(table.merge(source, entry, row, NOW, &mut u32::MAX.clone()));
}

fn id(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

fn zone(value: &str) -> Group {
    Group::of("zone", value).unwrap()
}

/// Rows of a whole page, by name.
fn page_of(table: &Table, group: &Group) -> Vec<v1::NodeRow> {
    table.page(group, None, usize::MAX, usize::MAX, NOW).rows
}

#[test]
fn the_newest_row_wins_and_a_stream_breaks_the_tie() {
    let mut table = table();
    put(&mut table, own(), &entry("a", "x", "one"), &row(NOW, 0.5));
    put(&mut table, peer(2), &entry("a", "x", "two"), &row(NOW - 1, 0.1));
    put(&mut table, peer(2), &entry("b", "x", "two"), &row(NOW, 0.1));
    assert_eq!(table.place(&id("a")).unwrap().aggregator_id, "one");
    // It moved: our own row has no stream any more.
    put(&mut table, own(), &entry("a", "x", ""), &row(NOW, 0.5));
    put(&mut table, peer(2), &entry("a", "x", "two"), &row(NOW, 0.5));
    let place = Place { writer: peer(2).writer, aggregator_id: "two".into() };
    assert_eq!(table.place(&id("a")).unwrap(), place);
    // What is left of it here does not bring it back.
    put(&mut table, own(), &entry("a", "x", ""), &row(NOW, 0.5));
    assert_eq!(table.place(&id("a")).unwrap(), place);
    assert_eq!(table.place(&id("c")), None);
    assert_eq!(table.similar("b1"), (vec!["b".to_owned()], 2));
}

#[test]
fn a_dead_aggregator_holds_no_stream() {
    let mut table = table();
    put(&mut table, peer(2), &entry("a", "x", "two"), &row(NOW, 0.1));
    assert_eq!(page_of(&table, &Group::cluster())[0].aggregator_id, "two");
    table.begin();
    table.set_live([own().writer].into());
    assert_eq!(page_of(&table, &Group::cluster())[0].aggregator_id, "");
    let parts = delta::since(&table, GENERATION, &Filter::Group(Group::cluster()), table.revision() - 1, NOW);
    assert_eq!(parts[0].entries[0].aggregator_id, "");
    // Whom to ask is still known, to say who is gone.
    assert_eq!(table.place(&id("a")).unwrap().aggregator_id, "two");
}

#[test]
fn what_is_not_believed_is_skipped_and_old_rows_go() {
    let mut table = table();
    put(&mut table, peer(2), &entry("ahead", "x", "two"), &row(NOW + 1_000, 0.1));
    put(&mut table, peer(2), &entry("old", "x", "two"), &row(NOW - 901, 0.1));
    put(&mut table, peer(2), &entry("silent", "x", "two"), &Row::default());
    assert_eq!(table.similar("").1, 0);
    put(&mut table, peer(2), &entry("a", "x", "two"), &row(NOW, 0.1));
    table.begin();
    table.prune(NOW + 900);
    assert_eq!(table.similar("").1, 1);
    table.prune(NOW + 901);
    assert_eq!((table.similar("").1, table.groups_of("zone").len()), (0, 0));
    assert_eq!(table.expected(&Group::cluster(), NOW), 0);
}

#[test]
fn a_full_table_says_so() {
    let mut table = Table::new(Vec::new(), 2);
    let merge = |table: &mut Table, name: &str| {
        table.merge(own(), &entry(name, "x", "one"), &row(NOW, 0.1), NOW, &mut u32::MAX.clone())
    };
    assert!(merge(&mut table, "a") && merge(&mut table, "b") && !merge(&mut table, "c"));
    assert!(merge(&mut table, "a"), "known nodes go on");
}

#[test]
fn groups_are_counted_without_a_walk() {
    let mut table = table();
    for (name, group) in [("a", "x"), ("b", "x"), ("c", "y")] {
        put(&mut table, own(), &entry(name, group, "one"), &row(NOW, 0.5));
    }
    assert_eq!(table.groups_of("zone"), ["zone:x", "zone:y"]);
    assert_eq!(table.expected(&Group::cluster(), NOW), 3);
    let mut stopped = Entry::clone(&entry("a", "x", ""));
    stopped.stopped = true;
    put(&mut table, own(), &stopped.into(), &row(NOW, 0.5));
    // It counts in the seconds before it stopped.
    assert_eq!((table.expected(&zone("x"), NOW), table.expected(&zone("x"), NOW + 1)), (2, 1));
    put(&mut table, own(), &entry("c", "z", "one"), &row(NOW, 0.5));
    assert_eq!(table.groups_of("zone"), ["zone:x", "zone:z"]);
    assert!(table.has_group(&zone("z")) && !table.has_group(&zone("y")));
    assert_eq!(table.count(&zone("x"), NOW), (2, 1, 1));
}

#[test]
fn pages_follow_each_other() {
    let mut table = table();
    for n in 0..10 {
        let zone = if n == 3 { "y" } else { "x" };
        put(&mut table, own(), &entry(&format!("n{n}"), zone, "one"), &row(NOW - n, 0.5));
    }
    let cluster = Group::cluster();
    let first = table.page(&cluster, None, 4, usize::MAX, NOW);
    let names = |page: &Page| page.rows.iter().map(|row| row.node_id.clone()).collect::<Vec<_>>();
    assert_eq!(names(&first), ["n0", "n1", "n2", "n3"]);
    assert_eq!((first.total, first.reporting, first.expected), (10, 4, 10));
    let second = table.page(&cluster, first.last.as_ref(), 6, usize::MAX, NOW);
    assert_eq!((names(&second).len(), second.last), (6, None), "the last page says so");
    let of_group = table.page(&zone("x"), Some(&id("n1")), 100, usize::MAX, NOW);
    assert_eq!(names(&of_group)[..2], ["n2", "n4"]);
    assert_eq!((of_group.total, of_group.last), (9, None));
    // Bytes end a page too, but never without a row.
    let small = table.page(&cluster, None, 100, 1, NOW);
    assert_eq!((names(&small), small.last), (vec!["n0".to_owned()], Some(id("n0"))));
    let bytes: usize = first.rows.iter().map(|row| row.encoded_len() + 6).sum();
    assert_eq!(table.page(&cluster, None, 100, bytes, NOW).rows.len(), 4);
}

/// A reader of a table.
struct Reader {
    mirror: Mirror,
    filter: Filter,
}

impl Reader {
    fn new(filter: Filter) -> Self {
        Self { mirror: Mirror::new(Most { nodes: 1_000, bytes: 1_000_000 }), filter }
    }

    /// Takes what changed since its position.
    fn read(&mut self, table: &Table) {
        for part in delta::since(table, GENERATION, &self.filter, self.mirror.position().1, NOW) {
            self.mirror.apply(&v1::NodesUpdate::decode(&*part.encode_to_vec()).unwrap()).unwrap();
        }
    }

    /// Rows as people are shown them, by name.
    fn rows(&self) -> Vec<v1::NodeRow> {
        let mut rows: Vec<_> =
            self.mirror.nodes().map(|(_, node)| table::wire_row(&node.entry, &node.row, NOW)).collect();
        rows.sort_by(|a, b| a.node_id.cmp(&b.node_id));
        rows
    }
}

/// What can happen to a table.
#[derive(Debug, Clone)]
enum Step {
    Put { name: u8, zone: u8, source: u8, age: u32, cpu: u8, held: bool },
    Live(Vec<u8>),
    Later(u32),
    Read(usize),
    Lose(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..12u8, 0..3u8, 1..4u8, 0..40u32, 0..100u8, any::<bool>())
            .prop_map(|(name, zone, source, age, cpu, held)| Step::Put { name, zone, source, age, cpu, held }),
        1 => prop::collection::vec(1..4u8, 0..3).prop_map(Step::Live),
        1 => (0..950u32).prop_map(Step::Later),
        3 => (0..3usize).prop_map(Step::Read),
        1 => (0..3usize).prop_map(Step::Lose),
    ]
}

proptest! {
    #[test]
    fn differences_give_the_whole_table(steps in prop::collection::vec(step(), 1..120)) {
        let mut table = table();
        let filters = [Filter::Group(Group::cluster()), Filter::Group(zone("1")), Filter::Own];
        let mut readers: Vec<Reader> = filters.into_iter().map(Reader::new).collect();
        for step in steps {
            table.begin();
            match step {
                Step::Put { name, zone, source, age, cpu, held } => {
                    let source = if source == 1 { own() } else { peer(source) };
                    let entry = entry(&format!("n{name}"), &zone.to_string(), if held { "some" } else { "" });
                    put(&mut table, source, &entry, &row(NOW - age, f64::from(cpu) / 100.0));
                }
                Step::Live(live) => table.set_live(live.into_iter().map(|n| peer(n).writer).collect()),
                Step::Later(seconds) => table.prune(NOW + seconds),
                Step::Read(reader) => readers[reader].read(&table),
                Step::Lose(reader) => readers[reader] = Reader::new(readers[reader].filter.clone()),
            }
        }
        for reader in &mut readers {
            reader.read(&table);
        }
        let whole = page_of(&table, &Group::cluster());
        let without_cores = |rows: Vec<v1::NodeRow>| -> Vec<v1::NodeRow> {
            rows.into_iter().map(|row| v1::NodeRow { busiest: Vec::new(), ..row }).collect()
        };
        prop_assert_eq!(readers[0].rows(), without_cores(whole.clone()));
        prop_assert_eq!(readers[1].rows(), without_cores(page_of(&table, &zone("1"))));
        let own: Vec<_> = whole
            .into_iter()
            .filter(|row| table.place(&id(&row.node_id)).unwrap().writer == own().writer)
            .collect();
        prop_assert_eq!(readers[2].rows(), own);
    }
}

#[test]
fn a_table_of_any_size_travels_in_small_messages() {
    let mut table = Table::new(Vec::new(), ROWS_MAX);
    table.begin();
    let mut whole = 0;
    for n in 0..20_000u32 {
        let mut entry = Entry::clone(&entry(&format!("web-{n:05}.fra.example"), "fra-1", "aggregator-1"));
        entry.labels.insert("rack".to_owned(), "x".repeat(n as usize % 64));
        let row = row(NOW, f64::from(n % 100) / 100.0);
        whole += table::wire_row(&entry, &row, NOW).encoded_len();
        assert!(table.merge(own(), &entry.into(), &row, NOW, &mut u32::MAX.clone()));
    }
    let parts = delta::since(&table, GENERATION, &Filter::Own, 0, NOW);
    let sizes: Vec<usize> = parts.iter().map(prost::Message::encoded_len).collect();
    assert!(sizes.iter().all(|size| *size < 2 * 1024 * 1024), "{sizes:?}");
    assert!(parts.iter().rev().skip(1).all(|part| part.more) && !parts.last().unwrap().more);
    // The second after it: numbers only.
    let seen = table.revision();
    table.begin();
    for n in 0..20_000 {
        let mut entry = Entry::clone(&entry(&format!("web-{n:05}.fra.example"), "fra-1", "aggregator-1"));
        entry.labels.insert("rack".to_owned(), "x".repeat(n as usize % 64));
        assert!(table.merge(own(), &entry.into(), &row(NOW + 1, 0.5), NOW, &mut u32::MAX.clone()));
    }
    let next: usize =
        delta::since(&table, GENERATION, &Filter::Own, seen, NOW + 1).iter().map(prost::Message::encoded_len).sum();
    assert!(next * 5 < whole, "{next} bytes a second, {whole} as a whole");
    assert!(delta::since(&table, GENERATION, &Filter::Own, table.revision(), NOW).is_empty());
}

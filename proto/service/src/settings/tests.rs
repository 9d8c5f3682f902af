#![allow(unreachable_pub, reason = "the macro makes what programs offer to others")]

use std::{collections::HashMap, io::Write as _, time::Duration};

use super::*;

crate::settings! {
    /// A table inside.
    pub struct Inner {
        /// Clients at once.
        pub clients: u32 = 500, kind::number(1..=10_000);
    }
}

crate::settings! {
    /// Settings of a program that is not.
    pub struct Outer {
        /// Its name.
        pub name: String = "a".to_owned(), kind::text(1..=8);
        /// Copies of everything.
        pub copies: u8 = 2, kind::number(1..=5);
        /// Where it listens.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7400)), kind::listen();
        /// Where its admin port is.
        pub admin_listen: Option<SocketAddr> = None, kind::optional(kind::listen()), example "\"127.0.0.1:7402\"";
        /// Whom it asks.
        pub seeds: Vec<String> = Vec::new(), kind::list(0..=2, kind::host_port());
        /// Labels.
        pub labels: HashMap<String, String> = HashMap::new(), kind::labels(), example "{ zone = \"a\" }";
        /// The longest stop.
        pub drain: Duration = Duration::from_secs(10), kind::seconds(1..=300), key "drain_secs";
        /// What is aimed at.
        pub target: Option<f64> = None, kind::optional(kind::positive("requests per second")), example "100.0";
        /// Whether it does.
        pub tcp: bool = true, kind::flag();
    }
    tables {
        /// Bounds.
        pub limits: Inner = Inner::default();
    }
    together together;
}

fn together(outer: &Outer, mistakes: &mut Mistakes) {
    if let Some(admin) = outer.admin_listen {
        mistakes.distinct(&[("listen", outer.listen), ("admin_listen", admin)]);
    }
}

fn load(file: Option<&str>, environment: &[(&str, &str)], flags: &[&str]) -> Result<Loaded<Outer>, String> {
    let path = file.map(|text| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.into_temp_path()
    });
    let sources = Sources {
        file: path.as_ref().map(|path| path.to_path_buf()),
        environment: environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        overrides: flags.iter().map(|&flag| flag.to_owned()).collect(),
    };
    super::load("node", &sources).map_err(|error| error.to_string())
}

#[test]
fn later_sources_win_and_tables_are_laid_on_each_other() {
    let file = "name = 'file'\ncopies = 1\nlabels.zone = 'a'\n[limits]\nclients = 7\n";
    let environment = [
        ("STARLING_NODE__COPIES", "2"),
        ("STARLING_NODE__LABELS__ROLE", "7"),
        ("STARLING_NODE__SEEDS", "127.0.0.1:1, 127.0.0.1:2"),
        ("STARLING_OTHER__COPIES", "9"),
    ];
    let loaded = load(Some(file), &environment, &["copies=3", "labels.zone=b", "drain_secs=30", "target=5"]).unwrap();
    let Outer { name, copies, labels, seeds, drain, target, limits, .. } = &loaded.settings;
    assert_eq!((name.as_str(), *copies, limits.clients), ("file", 3, 7));
    assert_eq!((*drain, *target), (Duration::from_secs(30), Some(5.0)));
    assert_eq!(*labels, HashMap::from([("zone".into(), "b".into()), ("role".into(), "7".into())]));
    assert_eq!(*seeds, ["127.0.0.1:1", "127.0.0.1:2"]);

    let whole = load(Some(file), &[], &["labels={ rack = \"1\" }"]).unwrap().settings;
    assert_eq!(whole.labels, HashMap::from([("rack".into(), "1".into())]), "a table given whole replaces");
    assert_eq!(load(None, &[], &["name=7"]).unwrap().settings.name, "7", "a text may look like a number");
}

#[test]
fn everything_that_is_wrong_is_reported_at_once_with_key_and_origin() {
    let file = r#"
copies = "two"
listen = "0.0.0.0"
seeds = ["nowhere", "10.0.0.1:1"]
nmae = "x"
limits.clients = 0
labels = { "rack:row" = "1", zone = 7 }
"#;
    let flags = ["drain_secs=0", "tcp=maybe", "target=-1", "copies.x=1", "zzz=1", "admin_listen=here", "bare"];
    let error = load(Some(file), &[("STARLING_NODE__LISTENS", "1")], &flags).unwrap_err();
    for part in [
        "listen: \"0.0.0.0\" is not an address and a port",
        "seeds: \"nowhere\" is not \"host:port\"",
        "nmae: unknown key, did you mean name?",
        " line 5)",
        "limits.clients: 0 is out of range, wanted: a whole number from 1 to 10000",
        "labels: \"rack:row\" is not the key of a label",
        "labels: the label \"zone\" has the value 7",
        "drain_secs: 0 is out of range, wanted: a whole number from 1 to 300 seconds (flag --set drain_secs=0)",
        "tcp: \"maybe\" is text, wanted: true or false",
        "target: -1 is out of range, wanted: a number of requests per second above 0",
        "zzz: unknown key, the keys are name, copies,",
        "admin_listen: \"here\" is not an address and a port",
        "--set \"bare\" is not KEY=VALUE",
        "listens: unknown key, did you mean listen? (environment STARLING_NODE__LISTENS)",
    ] {
        assert!(error.contains(part), "{part:?} is not in\n{error}");
    }
    // A later source replaces what an earlier one gave under one key: `copies.x` hides the text of the file.
    assert!(error.contains("copies: ") && error.contains("wanted: a whole number from 1 to 5"), "{error}");
}

#[test]
fn wrong_types_name_what_was_found() {
    let error = load(Some("copies = 'two'\nseeds = 1\nname = ['a']"), &[], &[]).unwrap_err();
    assert!(error.contains("copies: \"two\" is text, wanted: a whole number from 1 to 5"), "{error}");
    assert!(error.contains("seeds: 1 is a whole number, wanted: a list of at most 2"), "{error}");
    assert!(error.contains("name: [\"a\"] is a list, wanted: a text of 1 to 8 characters"), "{error}");
    assert_eq!(error.lines().count(), 3, "{error}");
}

#[test]
fn files_that_cannot_be_read_are_named_with_the_line() {
    let error = load(Some("name = 'a'\ncopies = = 2\n"), &[], &["drain_secs=0"]).unwrap_err();
    assert!(error.contains("line 2 is not TOML") && error.contains("drain_secs: 0"), "{error}");
    let sources = Sources { file: Some("/nonexistent/x.toml".into()), ..Sources::default() };
    let error = super::load::<Outer>("node", &sources).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/x.toml"), "{error}");
}

#[test]
fn one_underscore_too_few_is_noticed_and_other_names_are_left_alone() {
    let others = [("STARLING_NODE_PORT_4317_TCP", "x"), ("STARLING_NODE_SERVICE_HOST", "x")];
    assert!(load(None, &others, &[]).is_ok());
    let error = load(None, &[("STARLING_NODE_LIMITS_CLIENTS", "1")], &[]).unwrap_err();
    assert!(error.contains("did you mean STARLING_NODE__LIMITS__CLIENTS?"), "{error}");
}

#[test]
fn a_misspelt_program_is_noticed_and_the_others_of_ours_are_not() {
    let ours = [("STARLING_AGGREGATOR__COPIES", "1"), ("STARLING_UP__NODES", "3"), ("STARLING_X__COPIES", "1")];
    assert!(load(None, &ours, &[]).is_ok());
    for (name, meant) in
        [("STARLING_NOED__COPIES", "STARLING_NODE__COPIES"), ("STARLING_AGGREGATORS__A", "STARLING_AGGREGATOR__A")]
    {
        let error = load(None, &[(name, "1")], &[]).unwrap_err();
        assert!(error.contains(&format!("{name}: there is no such program, did you mean {meant}?")), "{error}");
    }
}

#[test]
fn two_listeners_want_two_addresses() {
    let error = load(None, &[], &["admin_listen=127.0.0.1:7400"]).unwrap_err();
    assert!(error.contains("admin_listen: 127.0.0.1:7400 is the address of listen too"), "{error}");
    assert!(load(None, &[], &["admin_listen=127.0.0.1:0", "listen=127.0.0.1:0"]).is_ok());
}

#[test]
fn settings_made_in_code_are_checked_by_the_same_table() {
    Outer::default().check().unwrap();
    let wrong = Outer {
        copies: 9,
        labels: HashMap::from([(String::new(), "x".to_owned())]),
        limits: Inner { clients: 0 },
        ..Outer::default()
    };
    assert_eq!(wrong.check().unwrap_err().to_string().lines().count(), 3);
}

#[test]
fn what_is_printed_names_origins_and_is_a_settings_file() {
    let loaded = load(Some("copies = 3\n"), &[("STARLING_NODE__NAME", "b")], &["labels.zone=c", "target=2.5"]).unwrap();
    let printed = loaded.print();
    for line in
        ["name = \"b\"  # environment STARLING_NODE__NAME", "tcp = true  # default", "#admin_listen =  # not set"]
    {
        assert!(printed.lines().any(|printed| printed == line), "{line:?} is not in\n{printed}");
    }
    assert!(printed.contains("copies = 3  # ") && printed.contains(" line 1\n"), "{printed}");
    assert!(printed.contains("labels = { zone = \"c\" }  # flag --set labels.zone=c"), "{printed}");
    assert_eq!(load(Some(&printed), &[], &[]).unwrap().settings, loaded.settings);
}

#[test]
fn every_line_of_an_example_can_be_uncommented() {
    let text = example::<Outer>("node");
    assert!(text.contains("# Copies of everything.\n# Wanted: a whole number from 1 to 5.\n#copies = 2\n"), "{text}");
    assert!(text.contains("STARLING_NODE__NAME"), "{text}");
    assert_eq!(load(Some(&text), &[], &[]).unwrap().settings, Outer::default());
    let all = load(Some(&example_uncommented(&text)), &[], &[]).unwrap();
    assert_eq!(all.settings.admin_listen, Some("127.0.0.1:7402".parse().unwrap()));
    let mut rows = Vec::new();
    all.settings.rows("", &mut rows);
    assert!(rows.iter().all(|row| all.origins.contains_key(&row.key)), "a key is not in the example");
}

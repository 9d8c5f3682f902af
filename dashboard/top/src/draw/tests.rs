use ratatui::{Terminal, backend::TestBackend, style::Color};
use starling_proto::live::{self, server_message::Body, state};

use super::*;
use crate::{
    fleet::tests::hosts,
    model::{
        Event, Key,
        tests::{NOW, alert, arrived, connected, hosts_at, overview, press, second, state, write},
    },
};

fn terminal(model: &Model, width: u16, height: u16, colour: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, Theme::new(colour))).unwrap();
    terminal
}

/// The lines of the screen.
fn screen(model: &Model, width: u16, height: u16) -> Vec<String> {
    let terminal = terminal(model, width, height, true);
    let cells = terminal.backend().buffer().content().chunks(usize::from(width));
    cells.map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()).collect()
}

fn shows(model: &Model, texts: &[&str]) {
    let lines = screen(model, 80, 24);
    for text in texts {
        assert!(lines.iter().any(|line| line.contains(text)), "{text:?} is not in\n{}", lines.join("\n"));
    }
}

#[test]
fn the_overview_at_80_by_24() {
    let model = connected(3);
    let lines = screen(&model, 80, 24);
    assert_eq!(lines[0], format!(" starling shop{:>65}", "22:13:20 UTC live"));
    assert_eq!(lines[1], " ▲ Degraded  n1 is silent since 22:12 UTC.");
    assert!(
        lines[3].starts_with("  1 Overview   2 Nodes   3 Map   4 Alerts 1") && lines[3].ends_with("2 of 3 nodes"),
        "{}",
        lines[3]
    );
    shows(
        &model,
        &[
            " Requests     1,624/s    peak 59/s",
            " p99, 60 s    14.2 ms    p50 1.80 ms  p95 9.10 ms",
            " Errors       0.03%      0.500/s",
            " CPU          34.2%      12 cores  load 1.50",
            " Memory       –",
            " Connections  –",
            " ✓ http1         1,624    900 µs   14.2 ms",
            " ▲ warning  2 m 10 s   n1 is busy",
        ],
    );
    assert!(lines[4].ends_with("▇████") && lines[4].contains('▆'), "the shape of the last seconds: {}", lines[4]);
    assert!(lines[23].contains("Space pause") && lines[23].contains("q quit"));
}

#[test]
fn every_page_fits_every_terminal() {
    for (width, height) in [(40, 12), (80, 24), (120, 40), (200, 60), (39, 24), (80, 11), (1, 1)] {
        let mut model = connected(40);
        model.apply(Event::Size(width, height));
        for key in ["1", "2", "3", "4", "?", "2"] {
            write(&mut model, key);
            terminal(&model, width, height, true);
        }
        press(&mut model, &[Key::Char('2'), Key::Enter]);
        terminal(&model, width, height, false);
    }
    let small = screen(&connected(3), 39, 24);
    assert!(small[0].starts_with("39 x 24 is too small"), "{}", small[0]);
}

#[test]
fn the_table_of_nodes() {
    let mut model = connected(30);
    press(&mut model, &[Key::Char('2'), Key::Char('s')]);
    shows(&model, &["cpu, highest first; 30 nodes", " n9 ", "90%", "9.00 ms"]);
    let lines = screen(&model, 80, 24);
    assert!(lines[5].contains("↓cpu") && lines[5].contains("load"), "{}", lines[5]);
    let silent = screen(&model, 80, 24).into_iter().chain({
        press(&mut model, &[Key::End]);
        screen(&model, 80, 24)
    });
    let silent: Vec<_> = silent.filter(|line| line.starts_with(" n1 ")).collect();
    assert!(!silent.is_empty(), "it is on one of the two");
    assert!(
        silent.iter().all(|line| line.contains("silent 1 m 15 s") && line.contains('–') && !line.contains('%')),
        "{silent:?}"
    );
    press(&mut model, &[Key::Char('/')]);
    write(&mut model, "state:silent");
    shows(&model, &["1 of 30 nodes", " n1 ", "silent 1 m 15 s", "filter: state:silent"]);
    write(&mut model, "x");
    shows(&model, &["No node is like that."]);
}

#[test]
fn the_map_says_with_marks_what_it_says_with_colours() {
    let mut model = connected(1_000);
    press(&mut model, &[Key::Char('3'), Key::Char('g')]);
    shows(&model, &[" cpu, by zone", "zone a  500 nodes", "zone b  500 nodes", "x silent", " n0  cpu 0%  zone:a"]);
    press(&mut model, &[Key::Char('g'), Key::Right]);
    shows(&model, &["by no label", " n1  silent 1 m 15 s, its clock is ahead  zone:b"]);
    let lines = screen(&model, 80, 24);
    assert!(lines[5].starts_with(" ▁x▂▂▃▄▅▆▆▇▁"), "{}", lines[5]);
    press(&mut model, &[Key::Char('f'), Key::Char('f')]);
    assert!(screen(&model, 80, 24)[5].starts_with(" ▁x·▁"), "what has no value is not zero");
    press(&mut model, &[Key::End]);
    shows(&model, &[" n999  requests 999/s"]);
}

#[test]
fn an_alert_in_full() {
    let mut model = connected(3);
    press(&mut model, &[Key::Char('4')]);
    shows(&model, &[" ▲ warning  2 m 10 s   n1 is busy"]);
    press(&mut model, &[Key::Enter]);
    let all =
        ["Rule        cpu-busy", "22:11:10 UTC, for 2 m 10 s", "97.1%, limit 90%, worst –", "Find out who it is."];
    shows(&model, &all);
    model.apply(second(NOW + 1, 1.0, overview(NOW + 1, "well.", Vec::new())));
    shows(&model, &["No alert is open. 35 rules watched each second."]);
}

#[test]
fn a_node_in_full() {
    let mut model = connected(3);
    press(&mut model, &[Key::Char('2'), Key::Enter]);
    shows(&model, &["Waiting for the first second of this node.", "n0"]);
    let detail = live::NodeDetail {
        node_id: "n0".into(),
        state: 2,
        last_tick: NOW - 75,
        silent_reason: "its clock is ahead".into(),
        cores: vec![0.5, f32::NAN, 1.0],
        cpu_model: "Fast".into(),
        labels: vec!["zone:a".into()],
        alerts: Some(live::OpenAlerts { alerts: vec![alert("e", "n0", "n0 is busy")], open: 1, ..Default::default() }),
        ..Default::default()
    };
    model.apply(arrived(Body::Snapshot(live::Snapshot {
        id: 10,
        tick: NOW,
        history: Some(live::History {
            first_tick: NOW,
            columns: vec![live::Column { name: "cpu.total".into(), values: vec![0.25] }],
        }),
        state: state(state::Body::Node(detail)),
    })));
    shows(
        &model,
        &[
            "CPU          25.0%",
            "last frame at 22:12:05 UTC",
            "its clock is ahead",
            "Cores     ▄ █",
            "zone:a",
            "▲ warning n0 is busy",
        ],
    );
}

#[test]
fn paused_and_rewound_say_so() {
    let mut model = connected(3);
    press(&mut model, &[Key::Char(' ')]);
    model.apply(second(NOW + 1, 1.0, overview(NOW + 1, "well.", Vec::new())));
    shows(&model, &["22:13:20 UTC 1 s before the newest", "Space live", "n1 is silent"]);
    press(&mut model, &[Key::Char(','); 30]);
    shows(&model, &["22:12:50 UTC 31 s before the newest", "? Not kept", "Requests     29/s", "Memory       –"]);
    press(&mut model, &[Key::Char('2')]);
    shows(&model, &["Nodes are kept here from 22:13:20 UTC on."]);
}

#[test]
fn what_has_stopped_is_said_and_not_called_well() {
    let mut model = connected(3);
    model.apply(Event::Clock { monotonic_ms: 9_000, unix_ms: u64::from(NOW) * 1_000 + 8_500 });
    shows(&model, &["? Stale", "No new data since 22:13:20 UTC. Then: Degraded", "22:13:20 UTC stale"]);
    shows(&Model::default(), &["? No data  Connecting.", "no data"]);
}

#[test]
fn hostile_names_are_text() {
    let mut model = connected(3);
    let hostile = "n\u{1b}[31m\u{202e}evil\u{9b}2J\r\n\u{7}";
    let mut nodes = hosts(3);
    nodes.dictionary_version = 2;
    nodes.node_ids[0] = hostile.into();
    nodes.labels[0].values[0] = hostile.into();
    nodes.notes[0].silent_reason = hostile.into();
    model.cluster = hostile.into();
    model.apply(hosts_at(NOW + 1, nodes));
    model.apply(second(NOW + 1, 1.0, overview(NOW + 1, hostile, vec![alert(hostile, hostile, hostile)])));
    for key in ["1", "2", "3", "g", "4"] {
        write(&mut model, key);
        let lines = screen(&model, 80, 24).join("\n");
        assert!(lines.contains("evil"), "{lines}");
        assert!(lines.chars().all(|c| c == '\n' || (!c.is_control() && c != '\u{202e}')), "{lines:?}");
    }
    press(&mut model, &[Key::Enter]);
    screen(&model, 80, 24);
    press(&mut model, &[Key::Char('2'), Key::Home, Key::Enter]);
    assert!(screen(&model, 80, 24)[3].contains("evil"));
}

#[test]
fn without_colours_there_are_none() {
    let mut model = connected(300);
    for key in ["1", "2", "3", "4", "?"] {
        write(&mut model, key);
        let coloured = |colour| {
            let terminal = terminal(&model, 80, 24, colour);
            let cells = terminal.backend().buffer().content().to_vec();
            cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
        };
        assert!(coloured(true) && !coloured(false), "page {key}");
    }
}

//! A fleet of hosts: network namespaces with addresses of their own on one switch. Links are cut, lossy and half broken.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use starling_tests::{Fleet, binary, eventually, this_second};

#[test]
fn a_fleet_by_mutual_tls_and_sealed_gossip_counts_every_second_through_loss_and_a_partition() {
    let name = "a_fleet_by_mutual_tls_and_sealed_gossip_counts_every_second_through_loss_and_a_partition";
    Fleet::run(name, (3, 4), async |fleet| {
        let first = fleet.ledger(1, 0).await.expect("it answered before").tick;
        // A third of what the second aggregator hears is lost; then the first is cut off.
        fleet.fault("a2", "numgen random mod 100 < 30 drop");
        tokio::time::sleep(Duration::from_secs(10)).await;
        fleet.fault("a1", "drop");
        tokio::time::sleep(Duration::from_secs(20)).await;
        fleet.heal("a1");
        fleet.heal("a2");
        let last = this_second();
        fleet.every_second_is_whole(first, last).await;
        // The tool says the same.
        let (tls, from, to) = (fleet.issuer().path("ann"), first.to_string(), last.to_string());
        let asked = ["ledger", "--aggregator", "10.90.0.1:7400", "--tls", &tls, "--from", &from, "--to", &to];
        let output = Command::new(binary("starling")).args(asked).output().expect("starling");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let seconds = last - first + 1;
        assert_eq!(said, format!("{seconds} of {seconds} seconds are whole and the same at agg-1, agg-2, agg-3\n"));
    });
}

/// Two that cannot reach each other while the third reaches both: what each counts goes by way of that one.
#[test]
fn two_aggregators_that_are_cut_from_each_other_show_the_same_by_way_of_the_third() {
    let name = "two_aggregators_that_are_cut_from_each_other_show_the_same_by_way_of_the_third";
    Fleet::run(name, (3, 4), async |fleet| {
        fleet.fault("a1", "ip saddr 10.90.0.3 drop");
        fleet.fault("a3", "ip saddr 10.90.0.1 drop");
        let cut = this_second() + 10;
        eventually("both go on", async || {
            for i in [1, 3] {
                let newest = fleet.whole(i, 0).await?;
                if newest.tick < cut {
                    return Err(format!("{} at agg-{i}", newest.tick));
                }
            }
            Ok(())
        })
        .await;
        eventually("the pair is named, and no other", async || {
            let mut pairs = Vec::new();
            for i in 1..=3 {
                let unlinked = fleet.listed(i).await?.into_iter().filter(|other| other.linked == Some(false));
                pairs.extend(unlinked.map(|other| (i, other.aggregator_id)));
            }
            match pairs == [(1, "agg-3".to_owned()), (3, "agg-1".to_owned())] {
                true => Ok(()),
                false => Err(format!("{pairs:?}")),
            }
        })
        .await;
        let late = this_second();
        tokio::time::sleep(Duration::from_secs(10)).await;
        for tick in late..late + 5 {
            for i in [1, 3] {
                fleet.whole(i, tick).await.expect("each second is whole within five");
            }
        }
        fleet.heal("a1");
        fleet.heal("a3");
        fleet.every_second_is_whole(cut, this_second()).await;
    });
}

/// One that sends and hardly hears takes itself for the sick one: nobody else is taken out.
#[test]
fn one_that_hardly_hears_makes_no_other_disappear() {
    Fleet::run("one_that_hardly_hears_makes_no_other_disappear", (3, 4), async |fleet| {
        let first = this_second();
        fleet.fault("a2", "meta l4proto udp numgen random mod 100 < 90 drop");
        tokio::time::sleep(Duration::from_secs(40)).await;
        fleet.heal("a2");
        for (i, other) in [(1, 3), (3, 1)] {
            let log = fleet.aggregators[i - 1].log();
            let lost = |line: &&str| line.contains("membership changed") && !line.contains(&format!("agg-{other}"));
            let settled = log.lines().skip_while(|line| !line.contains("settled"));
            assert_eq!(settled.filter(lost).collect::<Vec<_>>(), Vec::<&str>::new(), "agg-{i}");
        }
        fleet.every_second_is_whole(first, this_second()).await;
        let moves = fleet.nodes.iter().map(|node| node.log().matches("aggregator took the stream").count());
        let moves: Vec<usize> = moves.collect();
        assert!(moves.iter().all(|count| *count <= 3), "the first and two moves at most: {moves:?}");
    });
}

/// A firewall on the way forgets all connections, and says nothing: each is found dead and opened again.
#[test]
fn connections_that_a_firewall_forgot_are_opened_again() {
    Fleet::run("connections_that_a_firewall_forgot_are_opened_again", (2, 2), async |fleet| {
        let first = this_second();
        // Those that are open now, by the ports of who opened them; later ones have others.
        for host in ["a1", "a2"] {
            let open = |side: &str, column: usize| {
                let command = format!("ss -Htn state established '( {side} = :7400 )' | awk '{{print ${column}}}'");
                let ports = fleet.hosts.on(host, &command);
                let ports: Vec<String> =
                    ports.lines().filter_map(|line| Some(line.rsplit_once(':')?.1.into())).collect();
                ports.join(",")
            };
            let (taken, opened) = (open("sport", 4), open("dport", 3));
            let rules = [
                (taken, "tcp dport 7400 tcp sport"),
                // Of those that it opened, the answers.
                (opened, "tcp sport 7400 tcp dport"),
            ];
            let rules = rules.into_iter().filter(|(ports, _)| !ports.is_empty());
            let rules: Vec<String> = rules.map(|(ports, rule)| format!("{rule} {{ {ports} }} drop")).collect();
            assert!(!rules.is_empty(), "{host} has a connection to the other aggregator at least");
            fleet.fault(host, &rules.join("; iifname eth0 "));
        }
        let forgotten = Instant::now();
        let at = this_second();
        eventually("the cluster goes on", async || {
            for i in [1, 2] {
                let newest = fleet.whole(i, 0).await?;
                if newest.tick < at + 2 {
                    return Err(format!("{} at agg-{i}", newest.tick));
                }
            }
            Ok(())
        })
        .await;
        println!("on again {:.1} s after all connections were forgotten", forgotten.elapsed().as_secs_f64());
        assert!(forgotten.elapsed() < Duration::from_secs(30));
        fleet.every_second_is_whole(first, this_second()).await;
    });
}

use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_790_000_000;
const GRACE: u64 = 86_400;

fn token(uses: u32) -> Token {
    Token {
        secret: Sha256::digest([7; 16]).into(),
        role: Role::Node,
        created: NOW,
        expires: NOW + 3_600,
        uses,
        used: 0,
        replace: false,
        author: "ann".to_owned(),
        revoked: 0,
    }
}

fn with(token: Token) -> Register {
    let mut register = Register::default();
    register.apply(Event::Token { id: TOKEN, token });
    register
}

const TOKEN: TokenId = Hex([1; 8]);

fn ask(key: u8, name: &str) -> Ask {
    Ask {
        token: TOKEN,
        secret: [7; 16],
        key: Hex([key; 32]),
        role: Role::Node,
        name: NodeId::parse(name).unwrap(),
        machine: Some([key; 16]),
    }
}

/// Joins, as the shell does: decide, sign, write, apply.
fn join(register: &mut Register, ask: &Ask, now: u64) -> Result<(), Refusal> {
    let grant = register.may_join(ask, now, |_, _| false)?;
    let enrolled = Enrolled {
        role: grant.role,
        name: grant.name,
        machine: ask.machine,
        token: grant.token,
        joined: now,
        renewed: now,
        ends: now + 1_000,
        serial: "01".to_owned(),
        signed_by: Some(Hex([1; 32])),
        removed: None,
    };
    register.apply(Event::Joined { key: ask.key, enrolled });
    Ok(())
}

fn used(register: &Register) -> u32 {
    register.tokens().next().unwrap().1.used
}

#[test]
fn a_use_is_spent_by_who_joined_and_by_nothing_else() {
    let mut register = with(token(1));
    // Refused, and granted without being written: neither spends.
    let odd = Ask { role: Role::Aggregator, ..ask(2, "a") };
    assert_eq!(join(&mut register, &odd, NOW), Err(Refusal::Role { token: Role::Node, asked: Role::Aggregator }));
    assert!(register.may_join(&ask(1, "a"), NOW, |_, _| false).is_ok());
    assert_eq!(used(&register), 0);
    for _ in 0..3 {
        join(&mut register, &ask(1, "a"), NOW).unwrap();
        assert_eq!(used(&register), 1, "the same key is one however often it asks");
    }
    assert_eq!(join(&mut register, &ask(2, "b"), NOW), Err(Refusal::TokenUsedUp(1)));
}

#[test]
fn a_token_ends_and_is_taken_back_and_its_secret_counts() {
    let mut register = with(token(9));
    assert_eq!(join(&mut register, &Ask { secret: [8; 16], ..ask(1, "a") }, NOW), Err(Refusal::TokenUnknown));
    assert_eq!(join(&mut register, &ask(1, "a"), NOW + 3_600), Err(Refusal::TokenExpired(NOW + 3_600)));
    join(&mut register, &ask(1, "a"), NOW + 3_599).unwrap();
    // The answer was lost; meanwhile the token ended.
    join(&mut register, &ask(1, "a"), NOW + 3_700).unwrap();
    register.apply(Event::TokenRevoked { id: TOKEN, at: NOW + 10 });
    assert_eq!(join(&mut register, &ask(2, "b"), NOW + 20), Err(Refusal::TokenRevoked(NOW + 10)));
    assert!(register.may_renew(&Hex([1; 32]), None, NOW + 20, GRACE).is_ok(), "who has joined stays");
}

#[test]
fn a_name_is_taken_from_who_is_silent_and_only_by_leave() {
    let mut register = with(token(9));
    join(&mut register, &ask(1, "a"), NOW).unwrap();
    let taken = |alive| Err(Refusal::NameTaken { name: NodeId::parse("a").unwrap(), since: NOW, alive });
    assert_eq!(join(&mut register, &ask(2, "a"), NOW), taken(false));
    let of_same = Ask { machine: Some([1; 16]), ..ask(2, "a") };
    assert_eq!(register.may_join(&of_same, NOW, |_, _| true).map(drop), taken(true), "it is alive");
    join(&mut register, &of_same, NOW + 5).unwrap();
    let former = register.may_renew(&Hex([1; 32]), None, NOW + 6, GRACE).unwrap_err();
    assert!(matches!(former, Refusal::Removed { at, .. } if at == NOW + 5), "{former}");
    // By a token that allows it.
    register.apply(Event::Token { id: TOKEN, token: Token { replace: true, used: used(&register), ..token(9) } });
    join(&mut register, &ask(3, "a"), NOW + 7).unwrap();
    assert_eq!(register.holder(Role::Node, &NodeId::parse("a").unwrap()).unwrap().machine, Some([3; 16]));
}

#[test]
fn who_was_removed_does_not_come_back_and_its_name_is_free() {
    let mut register = with(token(9));
    join(&mut register, &ask(1, "a"), NOW).unwrap();
    let name = NodeId::parse("a").unwrap();
    register.apply(Event::Removed { role: Role::Node, name: name.clone(), at: NOW + 1, author: "ann".into() });
    assert_eq!(join(&mut register, &ask(1, "a"), NOW + 2), Err(Refusal::Removed { at: NOW + 1, by: "ann".into() }));
    assert!(matches!(register.may_renew(&Hex([1; 32]), None, NOW + 2, GRACE), Err(Refusal::Removed { .. })));
    join(&mut register, &ask(2, "a"), NOW + 3).unwrap();
    // Its certificate is over, so it cannot do anything any more.
    register.forget(NOW + 1_001, GRACE);
    assert_eq!(register.enrolled().count(), 1);
    assert!(register.holder(Role::Node, &name).is_some());
}

#[test]
fn a_copied_disk_is_seen_and_an_ended_certificate_is_renewed_for_a_while() {
    let mut register = with(token(9));
    join(&mut register, &ask(1, "a"), NOW).unwrap();
    let key = Hex([1; 32]);
    assert_eq!(register.may_renew(&key, Some([2; 16]), NOW, GRACE), Err(Refusal::OtherMachine));
    assert!(register.may_renew(&key, Some([1; 16]), NOW + 1_000 + GRACE, GRACE).is_ok());
    let late = register.may_renew(&key, Some([1; 16]), NOW + 1_001 + GRACE, GRACE);
    assert_eq!(late, Err(Refusal::EndedLongAgo(NOW + 1_000)));
    assert_eq!(register.may_renew(&Hex([9; 32]), None, NOW, GRACE), Err(Refusal::UnknownKey));
    assert_eq!(join(&mut register, &ask(1, "b"), NOW), Err(Refusal::Known(Role::Node, NodeId::parse("a").unwrap())));
}

#[test]
fn valid_tokens_are_bounded() {
    let mut register = Register::default();
    for number in 0..TOKENS_MAX as u64 {
        assert_eq!(register.may_make_token(NOW), Ok(()));
        register.apply(Event::Token { id: Hex(number.to_be_bytes()), token: token(1) });
    }
    assert_eq!(register.may_make_token(NOW), Err(Refusal::TooManyTokens));
    register.forget(NOW + 3_600 + TOKEN_SHOWN, GRACE);
    assert_eq!((register.tokens().count(), register.may_make_token(NOW)), (0, Ok(())));
}

#[derive(Debug, Clone)]
enum Step {
    Join { key: u8, name: u8, machine: u8, is_alive: bool },
    Renew { key: u8 },
    Remove { name: u8 },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6u8, 0..4u8, 0..3u8, any::<bool>())
            .prop_map(|(key, name, machine, is_alive)| Step::Join { key, name, machine, is_alive }),
        2 => (0..6u8).prop_map(|key| Step::Renew { key }),
        1 => (0..4u8).prop_map(|name| Step::Remove { name }),
        2 => Just(Step::Reopen),
    ]
}

proptest! {
    /// Whatever happens: a name has one key, uses are those who joined, who was removed never renews, and a file of the
    /// events is the state.
    #[test]
    fn rules_hold_in_any_order(steps in proptest::collection::vec(step(), 1..60), uses in 1..5u32) {
        let mut register = with(Token { replace: true, ..token(uses) });
        let mut lines: Vec<String> = register.events().map(|event| event.line()).collect();
        let mut removed = std::collections::BTreeSet::new();
        let mut joined = std::collections::BTreeSet::new();
        for (second, step) in steps.into_iter().enumerate() {
            let now = NOW + second as u64;
            let mut events = Vec::new();
            match step {
                Step::Join { key, name, machine, is_alive } => {
                    let ask = Ask { machine: Some([machine; 16]), ..ask(key, ["a", "b", "c", "d"][usize::from(name)]) };
                    let holder = register.holder(Role::Node, &ask.name).cloned();
                    let granted = register.may_join(&ask, now, |_, _| is_alive);
                    if let Ok(grant) = granted {
                        prop_assert!(!removed.contains(&key));
                        let is_known = joined.contains(&key);
                        prop_assert!(is_known || holder.is_none() || !is_alive, "a living one is never replaced");
                        if let Some(holder) = holder && !is_known {
                            for (key, one) in register.enrolled() {
                                if one.name == holder.name && one.removed.is_none() {
                                    removed.insert(key.0[0]);
                                }
                            }
                        }
                        joined.insert(key);
                        events.push(Event::Joined { key: ask.key, enrolled: Enrolled {
                            role: grant.role, name: grant.name, machine: ask.machine, token: grant.token,
                            joined: now, renewed: now, ends: now + 1_000, serial: "01".into(), signed_by: Some(Hex([1; 32])), removed: None,
                        }});
                    }
                }
                Step::Renew { key } => {
                    let key = Hex([key; 32]);
                    if register.may_renew(&key, None, now, GRACE).is_ok() {
                        prop_assert!(!removed.contains(&key.0[0]) && joined.contains(&key.0[0]));
                        let signed_by = Some(Hex([u8::try_from(second % 3).unwrap(); 32]));
                        events.push(Event::Renewed { key, at: now, ends: now + 1_000, serial: "02".into(), signed_by });
                    }
                }
                Step::Remove { name } => {
                    let name = NodeId::parse(["a", "b", "c", "d"][usize::from(name)]).unwrap();
                    for (key, one) in register.enrolled() {
                        if one.name == name && one.removed.is_none() {
                            removed.insert(key.0[0]);
                        }
                    }
                    events.push(Event::Removed { role: Role::Node, name, at: now, author: "ann".into() });
                }
                Step::Reopen => {
                    let mut again = Register::default();
                    for line in &lines {
                        again.apply(Event::parse(line).unwrap());
                    }
                    let mut made = Register::default();
                    register.events().for_each(|event| made.apply(event));
                    for other in [again, made] {
                        prop_assert_eq!(&other.tokens, &register.tokens);
                        prop_assert_eq!(&other.names, &register.names);
                        let (theirs, ours): (Vec<_>, Vec<_>) = (other.enrolled().collect(), register.enrolled().collect());
                        prop_assert_eq!(theirs.len(), ours.len());
                        for ((key, theirs), (_, ours)) in theirs.into_iter().zip(ours) {
                            prop_assert_eq!(theirs.removed.is_some(), ours.removed.is_some(), "{}", key);
                            prop_assert_eq!((&theirs.name, theirs.ends), (&ours.name, ours.ends));
                            prop_assert_eq!(theirs.signed_by, ours.signed_by);
                        }
                    }
                }
            }
            for event in events {
                lines.push(event.line());
                register.apply(event);
            }
            prop_assert_eq!(used(&register) as usize, joined.len());
            prop_assert!(joined.len() <= uses as usize);
            let mut names: Vec<_> = register.enrolled().filter(|(_, one)| one.removed.is_none()).map(|(_, one)| &one.name).collect();
            let all = names.len();
            names.sort();
            names.dedup();
            prop_assert_eq!(names.len(), all, "one key a name");
        }
    }
}

#[test]
fn what_the_version_before_wrote_says_nothing_of_the_authority() {
    let event = Event::Joined {
        key: Hex([1; 32]),
        enrolled: {
            let mut register = with(token(1));
            join(&mut register, &ask(1, "a"), NOW).unwrap();
            register.get(&Hex([1; 32])).unwrap().clone()
        },
    };
    let line = event.line();
    let before = line.replace(&format!(",\"signed_by\":\"{}\"", "01".repeat(32)), "");
    assert_ne!(before, line);
    let Event::Joined { enrolled, .. } = Event::parse(&before).unwrap() else { panic!("{before}") };
    assert_eq!(enrolled.signed_by, None);
    assert_eq!(Event::parse(&line).unwrap(), event);
}

#[test]
fn a_line_that_is_no_event_says_what_is_wrong() {
    for (line, wanted) in [
        ("", "EOF"),
        ("{\"event\":\"unheard\"}", "unknown variant"),
        ("{\"event\":\"removed\",\"role\":\"king\",\"name\":\"a\",\"at\":1,\"author\":\"\"}", "\"king\" is no role"),
        ("{\"event\":\"token-revoked\",\"id\":\"zz\",\"at\":1}", "16 hexadecimal digits"),
    ] {
        let error = Event::parse(line).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
}

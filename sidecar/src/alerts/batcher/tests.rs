//! When what is told, with time handed in.

use super::*;
use crate::alerts::message::MOST_SHOWN;

const RULES: Rules = Rules {
    dedup_ms: 1_000_000,
    digest_ms: 60_000,
    most_per_hour: 2,
    retry_ms: 100_000,
};
const SOON: Option<Duration> = Some(Duration::ZERO);

fn batcher() -> Batcher {
    Batcher::new(RULES, State::default(), 0)
}

fn about(client: &str, action: Severity) -> Notice {
    let mut notice = Notice::test(0);
    notice.ip_address = client.to_owned();
    notice.details.action = action;
    notice
}

fn take(batcher: &mut Batcher, client: &str, now_ms: u64) -> Taken {
    batcher.take(about(client, Severity::Deny), now_ms)
}

fn clients(message: &Message) -> Vec<&str> {
    message
        .notices
        .iter()
        .map(|notice| notice.ip_address.as_str())
        .collect()
}

#[test]
fn the_same_is_told_once_within_its_time() {
    let mut batcher = batcher();
    assert_eq!(take(&mut batcher, "a", 0), Taken::New);
    assert_eq!(take(&mut batcher, "a", 10), Taken::Repeated);
    assert_eq!(take(&mut batcher, "b", 10), Taken::New);
    assert_eq!(batcher.take(about("a", Severity::Alert), 10), Taken::New);
    let mut elsewhere = about("a", Severity::Deny);
    elsewhere.details.site = "elsewhere".to_owned();
    assert_eq!(batcher.take(elsewhere, 10), Taken::New);
    assert_eq!(take(&mut batcher, "a", 999_999), Taken::Repeated);
    assert_eq!(take(&mut batcher, "a", 1_000_000), Taken::New);
    let message = batcher.next(1_000_000).unwrap();
    assert_eq!((message.notices.len(), message.repeated), (5, 2));
}

#[test]
fn what_is_only_repeated_waits_for_the_next_message() {
    let mut batcher = batcher();
    take(&mut batcher, "a", 0);
    batcher.next(60_000).unwrap();
    batcher.delivered();
    take(&mut batcher, "a", 60_001);
    assert_eq!(batcher.due_ms(60_001), None);
    take(&mut batcher, "b", 70_000);
    assert_eq!(batcher.next(130_000).unwrap().repeated, 1);
}

#[test]
fn alerts_are_gathered_and_the_worst_come_first() {
    let mut batcher = batcher();
    assert_eq!(batcher.due_ms(0), None);
    batcher.take(about("mild", Severity::Alert), 5);
    take(&mut batcher, "bad", 30_000);
    assert_eq!(batcher.due_ms(30_000), Some(60_005));
    assert_eq!(batcher.next(60_004), None);
    let message = batcher.next(60_005).unwrap();
    assert_eq!(clients(&message), ["bad", "mild"]);
    // The same message until it has arrived.
    assert_eq!(batcher.next(60_005), Some(message));
    batcher.delivered();
    assert_eq!(batcher.next(60_005), None);
}

#[test]
fn a_message_shows_so_many_and_counts_the_others() {
    let mut batcher = batcher();
    for number in 0..100 {
        batcher.take(about(&number.to_string(), Severity::Alert), 0);
    }
    take(&mut batcher, "bad", 0);
    batcher.missed(7, 0);
    let message = batcher.next(60_000).unwrap();
    assert_eq!(message.notices.len(), MOST_SHOWN);
    assert_eq!(message.not_shown, 101 - MOST_SHOWN as u64 + 7);
    assert_eq!(clients(&message)[..2], ["bad", "0"]);
    assert!(
        message.headline().ends_with("(and 107 more)"),
        "{}",
        message.headline()
    );
}

#[test]
fn what_is_above_the_cap_is_held_and_counted() {
    let mut batcher = batcher();
    for now_ms in [0, 100_000] {
        take(&mut batcher, &now_ms.to_string(), now_ms);
        assert!(batcher.next(now_ms + 60_000).is_some());
        batcher.delivered();
    }
    take(&mut batcher, "x", 200_000);
    assert_eq!(batcher.hold(200_000), 0, "it is being gathered");
    assert_eq!(batcher.next(260_000), None);
    assert_eq!(batcher.hold(260_000), 1);
    take(&mut batcher, "y", 270_000);
    assert_eq!((batcher.hold(270_000), batcher.hold(270_000)), (1, 0));
    let free = 60_000 + HOUR_MS;
    assert_eq!(batcher.due_ms(270_000), Some(free));
    assert_eq!(batcher.next(free - 1), None);
    let message = batcher.next(free).unwrap();
    assert_eq!((message.held, clients(&message)), (2, vec!["x", "y"]));
}

#[test]
fn tries_are_further_and_further_apart() {
    assert_eq!((wait_ms(1, 0.0), wait_ms(1, 1.0)), (1_000, 2_000));
    assert_eq!((wait_ms(4, 0.0), wait_ms(4, 1.0)), (8_000, 16_000));
    assert_eq!((wait_ms(99, 0.0), wait_ms(99, 1.0)), (300_000, 600_000));
}

#[test]
fn a_message_is_tried_again_until_its_time_is_over() {
    let mut batcher = batcher();
    take(&mut batcher, "a", 0);
    let first = batcher.next(60_000).unwrap();
    assert_eq!(batcher.failed(SOON, 60_000, 1.0), Fate::Again);
    assert_eq!(batcher.due_ms(60_000), Some(62_000));
    // What comes meanwhile waits.
    take(&mut batcher, "b", 61_000);
    assert_eq!(batcher.next(61_999), None);
    assert_eq!(batcher.next(62_000), Some(first.clone()));
    let asked = Some(Duration::from_secs(30));
    assert_eq!(batcher.failed(asked, 62_000, 0.0), Fate::Again);
    assert_eq!(batcher.due_ms(62_000), Some(92_000));
    let Fate::Dead(dead) = batcher.failed(SOON, 160_000, 0.0) else {
        panic!("expected its end");
    };
    assert_eq!((dead.message, dead.tries), (first, 3));
    assert_eq!(clients(&batcher.next(160_000).unwrap()), ["b"]);
}

#[test]
fn what_is_no_use_is_not_tried_again() {
    let mut batcher = batcher();
    take(&mut batcher, "a", 0);
    batcher.next(60_000).unwrap();
    assert!(matches!(batcher.failed(None, 60_000, 0.0), Fate::Dead(_)));
    assert_eq!(batcher.due_ms(60_000), None);
}

#[test]
fn what_waits_goes_on_after_a_restart() {
    let mut batcher = batcher();
    take(&mut batcher, "a", 0);
    let first = batcher.next(60_000).unwrap();
    batcher.failed(SOON, 60_000, 1.0);
    take(&mut batcher, "b", 61_000);
    let written = serde_json::to_string(batcher.state()).unwrap();
    let read = || serde_json::from_str(&written).unwrap();
    let mut next = Batcher::new(RULES, read(), 61_500);
    assert_eq!(next.state(), batcher.state());
    assert_eq!(next.next(62_000), Some(first));
    // The clock was set back in between.
    let early = Batcher::new(RULES, read(), 10);
    assert_eq!(early.due_ms(10), Some(62_000));
    assert!(early.state().sent_ms.is_empty());
    // A time beyond all clocks waits no longer than any other.
    let mut far: State = read();
    far.current.as_mut().unwrap().due_ms = u64::MAX;
    assert_eq!(
        Batcher::new(RULES, far, 10).due_ms(10),
        Some(10 + LONGEST_WAIT_MS)
    );
}

//! What is kept, and what is forgotten.

use tempfile::TempDir;
use thornwall_proto::v1::outcome::Truth;

use super::*;

fn file() -> (File, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = File::open(&folder.path().join("history.redb")).unwrap();
    (file, folder)
}

fn case(number: u128, made_ms: u64, decided: bool) -> Order {
    let id = CaseId(number).to_string();
    let case = v1::Explanation {
        case: Some(v1::Case {
            id: id.clone(),
            site: "shop".to_owned(),
            subject: "192.0.2.7".to_owned(),
            ..v1::Case::default()
        }),
        assessment: Some(v1::Assessment {
            case_id: id,
            made_ms,
            decision: decided.then(v1::Decision::default),
            ..v1::Assessment::default()
        }),
        ..v1::Explanation::default()
    };
    Order::Case(Written::of(&case).unwrap())
}

fn decision(number: u64, until_ms: u64) -> Order {
    Order::Decision(v1::Decision {
        number,
        until_ms,
        ..v1::Decision::default()
    })
}

const LIMITS: config::History = config::History {
    retention_days: 1,
    max_cases: 3,
};
const DAY_MS: u64 = 24 * 3_600_000;

#[test]
fn what_is_old_or_too_much_is_forgotten() {
    let (file, _folder) = file();
    let listed = || {
        let page = file.list(&v1::ListRequest::default()).unwrap().0;
        page.into_iter()
            .map(|found| found.made_ms)
            .collect::<Vec<_>>()
    };
    let cases: Vec<Order> = (1..=5).map(|n| case(n.into(), n * 10, false)).collect();
    file.write(&cases, LIMITS).unwrap();
    assert_eq!(listed(), [50, 40, 30]);
    // The same case again has its new time alone.
    file.write(&[case(3, 60, false)], LIMITS).unwrap();
    assert_eq!(listed(), [60, 50, 40]);
    file.write(&[case(9, 55 + DAY_MS, false)], LIMITS).unwrap();
    assert_eq!(listed(), [55 + DAY_MS, 60]);
}

/// What another version wrote: tables are found by name, and messages by the contract's numbers.
#[test]
fn the_file_keeps_its_form() {
    let (file, folder) = file();
    drop(file);
    let database = Database::open(folder.path().join("history.redb")).unwrap();
    let write = database.begin_write().unwrap();
    {
        let decisions: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("decisions");
        let last: TableDefinition<'_, (), u64> = TableDefinition::new("last");
        let name: TableDefinition<'_, (), &str> = TableDefinition::new("name");
        let sent = v1::Decision {
            number: 7,
            action: 5,
            until_ms: 9_000,
            ..v1::Decision::default()
        };
        let mut table = write.open_table(decisions).unwrap();
        table.insert(7, sent.encode_to_vec().as_slice()).unwrap();
        write.open_table(last).unwrap().insert((), 8).unwrap();
        write.open_table(name).unwrap().insert((), "a").unwrap();
    }
    write.commit().unwrap();
    drop(database);
    let file = File::open(&folder.path().join("history.redb")).unwrap();
    let stored = file.load(1_000).unwrap();
    assert_eq!((stored.last, stored.name.as_deref()), (8, Some("a")));
    assert_eq!(stored.decisions.len(), 1);
    assert_eq!(stored.decisions[0].action(), v1::Action::Deny);
}

#[test]
fn a_start_finds_what_holds_and_what_counts() {
    let (file, _folder) = file();
    let orders = [
        case(1, 1_000, true),
        case(2, 2_000, false),
        decision(7, 5_000),
        decision(8, 1_500),
    ];
    file.write(&orders, config::History::default()).unwrap();
    let stored = file.load(3_000).unwrap();
    assert_eq!(stored.last, 8);
    let numbers: Vec<u64> = stored.decisions.iter().map(|d| d.number).collect();
    assert_eq!(numbers, [7]);
    let [remembered] = stored.remembered.as_slice() else {
        panic!("{:?}", stored.remembered);
    };
    assert_eq!(remembered.condemned_until_ms, Some(0));
    let later = file.load(3_000 + 8 * DAY_MS).unwrap();
    assert!(later.remembered.is_empty() && later.decisions.is_empty());
}

#[test]
fn a_decision_that_holds_for_long_keeps_no_ended_ones() {
    let (file, _folder) = file();
    let ended = (2..=MOST_DECISIONS + 1).map(|number| decision(number, 10));
    let mut orders: Vec<Order> = ended.collect();
    orders.insert(0, decision(1, u64::MAX));
    orders.push(case(1, 20, false));
    file.write(&orders, config::History::default()).unwrap();
    let kept = file.load(0).unwrap().decisions;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].number, 1);
}

#[test]
fn what_proved_true_stays_with_its_case() {
    let (file, _folder) = file();
    let proved = |truth| Order::Proved(CaseId(1), truth);
    let orders = [
        // Nobody knows it yet.
        proved(Truth::Verified),
        case(1, 10, false),
        proved(Truth::Trap),
        proved(Truth::Trap),
    ];
    file.write(&orders, config::History::default()).unwrap();
    file.write(&[case(1, 20, false)], config::History::default())
        .unwrap();
    let found = file.explain(CaseId(1)).unwrap().unwrap();
    assert_eq!(found.proved, [i32::from(Truth::Trap)]);
    assert_eq!(found.assessment.unwrap().made_ms, 20);
    let mut shown = 0;
    let count = |_| {
        shown += 1;
        ControlFlow::Continue(())
    };
    file.each(20, count).unwrap();
    file.each(21, |_| panic!("too old")).unwrap();
    assert_eq!(shown, 1);
}

#[test]
fn a_page_fits_into_a_message_and_all_pages_are_everything() {
    let (file, _folder) = file();
    let long = |number: u64| {
        let Order::Case(case) = case(number.into(), number, false) else {
            panic!("not a case");
        };
        let mut case = v1::Explanation::decode(case.bytes.as_slice()).unwrap();
        let step = v1::Step {
            evidence: "x".repeat(512),
            ..v1::Step::default()
        };
        case.assessment.as_mut().unwrap().steps = vec![step; 8];
        Order::Case(Written::of(&case).unwrap())
    };
    let cases: Vec<Order> = (1..=100).map(long).collect();
    file.write(&cases, config::History::default()).unwrap();
    let mut request = v1::ListRequest::default();
    let mut seen = Vec::new();
    loop {
        let (assessments, next_page) = file.list(&request).unwrap();
        seen.extend(assessments.iter().map(|found| found.made_ms));
        let sent = v1::ListResponse {
            assessments,
            next_page: next_page.clone(),
        };
        assert!(sent.encoded_len() <= thornwall_proto::MOST_MESSAGE_BYTES);
        if next_page.is_empty() {
            break;
        }
        request.page = next_page;
    }
    assert!(seen.iter().copied().eq((1..=100).rev()), "{seen:?}");
}

/// A number that this version does not know is kept, as the case grows and as truths come.
#[test]
fn a_label_of_a_later_version_stays_with_its_case() {
    let (file, _folder) = file();
    let Order::Case(written) = case(1, 10, false) else {
        panic!("not a case");
    };
    let mut labelled = v1::Explanation::decode(written.bytes.as_slice()).unwrap();
    labelled.label = 9;
    let limits = config::History::default();
    let labelled = Order::Case(Written::of(&labelled).unwrap());
    file.write(&[labelled], limits).unwrap();
    let later = [case(1, 20, false), Order::Proved(CaseId(1), Truth::Trap)];
    file.write(&later, limits).unwrap();
    let found = file.explain(CaseId(1)).unwrap().unwrap();
    assert_eq!((found.label, found.proved.len()), (9, 1));
    assert_eq!(found.assessment.unwrap().made_ms, 20);
}

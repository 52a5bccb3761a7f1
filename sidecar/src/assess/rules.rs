//! What the requests of a case say together: pace, regularity, breadth, and what they leave out.
//!
//! The paces are those that the predecessor scored (60 and 30 requests in five minutes, gaps under
//! 0.3 s); a person reads a page for longer, but opens ten tabs at once, so that a few quick requests
//! say nothing. Weights are chosen so that pace alone condemns no client, as an API client and an eager
//! reader look alike in it.

use std::collections::HashSet;

use super::step::Finding;
use crate::case::{Case, Sample};
use thornwall_detectors::path::{self, Kind};

/// Requests in five minutes that are many, and very many.
const MANY: f32 = 30.0;
const VERY_MANY: f32 = 60.0;
const WINDOW_SECS: f32 = 300.0;
/// Seconds that a case is looked at as if it had lasted, at least: a burst is no pace.
const LEAST_SECS: f32 = 10.0;
/// A gap between two requests, in milliseconds, that is too short to have read anything.
const QUICK_MS: f32 = 300.0;
/// Gaps that are needed to know a pace.
const LEAST_GAPS: usize = 8;
/// Spread of gaps, as a share of their mean, below which a clock sends them.
const REGULAR: f32 = 0.1;

/// Judges the requests together.
pub(super) fn judge(case: &Case) -> Finding {
    let pages = pages(case);
    let gaps = gaps(&pages);
    let rules = [
        pace(case),
        gaps.as_deref().and_then(quick),
        gaps.as_deref().and_then(regular),
        pages_only(case, pages.len()),
        breadth(case),
    ];
    let found: Vec<(f32, String)> = rules.into_iter().flatten().collect();
    let innocent: f32 = found.iter().map(|(weight, _)| 1.0 - weight).product();
    let evidence: Vec<String> = found.into_iter().map(|(_, evidence)| evidence).collect();
    let evidence = if evidence.is_empty() {
        "nothing in pace or breadth".to_owned()
    } else {
        evidence.join("; ")
    };
    Finding::new(1.0 - innocent, evidence)
}

fn pace(case: &Case) -> Option<(f32, String)> {
    let secs = ((case.last_ms - case.first_ms) as f32 / 1e3).max(LEAST_SECS);
    let in_window = case.requests as f32 * WINDOW_SECS / secs.max(WINDOW_SECS);
    let weight = match in_window {
        many if many > VERY_MANY => 0.3,
        many if many > MANY => 0.1,
        _ => return None,
    };
    Some((weight, format!("{} requests in {secs:.0} s", case.requests)))
}

fn gaps(samples: &[&Sample]) -> Option<Vec<f32>> {
    let pairs = samples.windows(2);
    let gaps: Vec<f32> = pairs
        .map(|pair| pair[1].after_ms.saturating_sub(pair[0].after_ms) as f32)
        .collect();
    (gaps.len() >= LEAST_GAPS).then_some(gaps)
}

fn quick(gaps: &[f32]) -> Option<(f32, String)> {
    let mut gaps = gaps.to_vec();
    gaps.sort_unstable_by(f32::total_cmp);
    let median = gaps[gaps.len() / 2];
    (median < QUICK_MS).then(|| (0.2, format!("a page every {median:.0} ms")))
}

fn regular(gaps: &[f32]) -> Option<(f32, String)> {
    let mean = gaps.iter().sum::<f32>() / gaps.len() as f32;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f32>() / gaps.len() as f32;
    let regular = mean > 0.0 && variance.sqrt() / mean < REGULAR;
    regular.then(|| (0.3, format!("a page every {mean:.0} ms, as by a clock")))
}

/// A browser asks for what a page is made of; a client that never does reads text alone.
fn pages_only(case: &Case, pages: usize) -> Option<(f32, String)> {
    let only = case.samples.len() > LEAST_GAPS && pages == case.samples.len();
    only.then(|| {
        (
            0.2,
            format!("{pages} pages and nothing that they are made of"),
        )
    })
}

/// Hardly anybody reads fifty pages and none of them twice.
fn breadth(case: &Case) -> Option<(f32, String)> {
    let paths: HashSet<&str> = case.samples.iter().map(|s| s.path.as_str()).collect();
    let all_new = paths.len() == case.samples.len();
    let broad = case.requests >= 50 && case.samples.len() > LEAST_GAPS && all_new;
    broad.then(|| (0.2, format!("{} requests, none seen twice", case.requests)))
}

fn pages(case: &Case) -> Vec<&Sample> {
    let page = |sample: &&Sample| matches!(path::kind(&sample.path), Kind::Page);
    case.samples.iter().filter(page).collect()
}

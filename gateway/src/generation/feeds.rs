//! `[[feed]]`, checked.

use std::{collections::HashSet, ops::RangeInclusive, sync::Arc, time::Duration};

use thornwall_decisions::{
    feed::{Column, Form},
    prefix_set::list::MAX_LIST_BYTES,
};
use thornwall_settings::report::Report;
use toml::Spanned;
use url::Url;

use crate::{
    config::{self, FeedFormat},
    feeds::{Location, Spec},
};

/// Most feeds of one configuration: each has labels in the metrics and a file in `data_dir`.
const MOST_FEEDS: usize = 64;
/// Longest name: of a file, and of a label.
const LONGEST_NAME: usize = 64;
/// Times between two readings: a list that is read less than once a week is no feed.
const EVERY_SECS: RangeInclusive<u64> = 1..=604_800;
/// Lifetimes that a feed may have: at most as long as any decision holds.
const LIFETIME_SECS: RangeInclusive<u64> = 1..=366 * 86_400;
/// At most what is read of any list.
const BYTES: RangeInclusive<u64> = 1024..=MAX_LIST_BYTES as u64;

pub(super) fn build(specs: &[config::Feed], report: &mut Report) -> Option<Vec<Arc<Spec>>> {
    let mut names = HashSet::new();
    for (at, spec) in specs.iter().enumerate() {
        let name = spec.name.get_ref();
        if !names.insert(name) {
            let what = format!("feed `{name}` is there twice; expected unique names");
            report.problem(spec.name.span(), what);
        }
        if at == MOST_FEEDS {
            let what = format!("too many feeds; expected at most {MOST_FEEDS}");
            report.problem(spec.name.span(), what);
        }
    }
    // All of them, so that every mistake is reported.
    let built: Vec<_> = specs.iter().map(|spec| feed(spec, report)).collect();
    built.into_iter().map(|spec| spec.map(Arc::new)).collect()
}

fn feed(spec: &config::Feed, report: &mut Report) -> Option<Spec> {
    let before = report.problems.len();
    check_name(&spec.name, report);
    let location = location(spec, report);
    let form = form(spec, report);
    within("seconds", &spec.every_secs, EVERY_SECS, report);
    within("seconds", &spec.lifetime_secs, LIFETIME_SECS, report);
    within("bytes", &spec.max_bytes, BYTES, report);
    if spec.lifetime_secs.get_ref() < spec.every_secs.get_ref() {
        let what = "lifetime_secs is shorter than every_secs, so entries would end before they are \
                    read again; expected at least as long";
        // One of them is written there, if not both.
        let written = [&spec.lifetime_secs, &spec.every_secs].map(Spanned::span);
        let span = written.into_iter().find(|span| !span.is_empty());
        report.problem(span.unwrap_or_else(|| spec.name.span()), what);
    }
    let (location, form) = (location?, form?);
    (report.problems.len() == before).then(|| Spec {
        name: spec.name.get_ref().as_str().into(),
        location,
        form,
        every: Duration::from_secs(*spec.every_secs.get_ref()),
        lifetime: Duration::from_secs(*spec.lifetime_secs.get_ref()),
        max_bytes: *spec.max_bytes.get_ref(),
        allow_private: spec.allow_private,
    })
}

fn check_name(name: &Spanned<String>, report: &mut Report) {
    let text = name.get_ref();
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if !(1..=LONGEST_NAME).contains(&text.len()) || !text.bytes().all(plain) {
        let what = format!(
            "`{text}` is no name of a feed; expected 1 to {LONGEST_NAME} of a-z, 0-9, _, -"
        );
        report.problem(name.span(), what);
    }
}

fn location(spec: &config::Feed, report: &mut Report) -> Option<Location> {
    match (&spec.url, &spec.file) {
        (Some(url), None) => match read_url(url.get_ref()) {
            Ok(url) => Some(Location::Url(url)),
            Err(what) => {
                report.problem(url.span(), what);
                None
            }
        },
        (None, Some(file)) => Some(Location::File(report.resolve(file.get_ref()))),
        _ => {
            let what = format!(
                "feed `{}` needs a place; expected either url or file",
                spec.name.get_ref()
            );
            report.problem(spec.name.span(), what);
            None
        }
    }
}

fn read_url(text: &str) -> Result<Url, String> {
    let expected = "expected one such as \"https://lists.example/bad.txt\"";
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}; {expected}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(format!("is no HTTP URL; {expected}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("has a user or a password in it; {expected}"));
    }
    Ok(url)
}

fn form(spec: &config::Feed, report: &mut Report) -> Option<Form> {
    let misplaced = |what: &str, format: &str| format!("`{what}` belongs to format = \"{format}\"");
    if let (Some(pointer), true) = (&spec.pointer, spec.format != FeedFormat::Json) {
        report.problem(pointer.span(), misplaced("pointer", "json"));
    }
    if let (Some(column), true) = (&spec.column, spec.format != FeedFormat::Csv) {
        report.problem(column.span(), misplaced("column", "csv"));
    }
    match spec.format {
        FeedFormat::Csv => column(spec.column.as_ref(), report).map(Form::Csv),
        FeedFormat::Json => pointer(spec, report),
        FeedFormat::Text => Some(Form::Text),
    }
}

fn column(column: Option<&Spanned<toml::Value>>, report: &mut Report) -> Option<Column> {
    let Some(column) = column else {
        return Some(Column::Number(0));
    };
    let read = match column.get_ref() {
        toml::Value::Integer(number) => usize::try_from(*number).ok().map(Column::Number),
        toml::Value::String(name) if !name.is_empty() => Some(Column::Name(name.clone())),
        _ => None,
    };
    if read.is_none() {
        let what = "is no column; expected a number from 0, or a name of the first record";
        report.problem(column.span(), what);
    }
    read
}

fn pointer(spec: &config::Feed, report: &mut Report) -> Option<Form> {
    let expected = "expected a JSON Pointer (RFC 6901) in which * means every element, such as \
                    \"/data/*/ip\"";
    let Some(pointer) = &spec.pointer else {
        let what = format!("format = \"json\" needs a pointer; {expected}");
        report.problem(spec.name.span(), what);
        return None;
    };
    match pointer.get_ref().parse() {
        Ok(pointer) => Some(Form::Json(pointer)),
        Err(error) => {
            let what = format!("`{}` {error}; {expected}", pointer.get_ref());
            report.problem(pointer.span(), what);
            None
        }
    }
}

fn within(unit: &str, value: &Spanned<u64>, bounds: RangeInclusive<u64>, report: &mut Report) {
    if !bounds.contains(value.get_ref()) {
        let (least, most) = bounds.into_inner();
        let what = format!("out of bounds; expected {least} to {most} {unit}");
        report.problem(value.span(), what);
    }
}

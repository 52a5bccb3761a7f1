//! Reading decisions, for operators.

use super::{List, Writer, file::File, order};
use crate::{
    clock::Moment,
    decision::{Decision, DecisionKey, ReasonCode, Scope},
    decisions::{EVERY_SITE, Origin, Row},
    store::{Page, Query},
};

impl Writer {
    pub(super) fn page(&self, query: &Query) -> Page {
        let now = self.clock.now();
        let sites = self.shown.sites();
        // A query only reads: it assigns no number to a site.
        let site = query.scope.as_ref().and_then(|scope| match scope {
            Scope::Deployment => Some(EVERY_SITE),
            Scope::Site(name) => sites.known(name),
        });
        let rows: Box<dyn Iterator<Item = Row>> = match query.covering {
            Some(address) => Box::new(self.table.around(address, now.own_ms).into_iter()),
            None => Box::new(
                self.table
                    .rows(now.own_ms)
                    .chain(self.table.listed(now.own_ms)),
            ),
        };
        let mut wanted = rows.filter(|row| query.wants(row, site)).skip(query.after);
        let rows: Vec<Row> = wanted.by_ref().take(query.most).collect();
        Page {
            next: wanted.next().map(|_| query.after + rows.len()),
            decisions: rows
                .iter()
                .filter_map(|row| self.detail(row, now))
                .collect(),
        }
    }

    /// The whole decision behind a row.
    pub(super) fn detail(&self, row: &Row, now: Moment) -> Option<Decision> {
        let key = DecisionKey {
            subject: row.subject,
            scope: self.shown.sites().scope(row.site)?,
        };
        let kept = match row.origin {
            Origin::Feed | Origin::Predecessor => None,
            Origin::Filter | Origin::Operator | Origin::Sidecar => self.whole(&key),
        };
        Some(kept.unwrap_or_else(|| self.summary(key, row, now)))
    }

    pub(super) fn whole(&self, key: &DecisionKey) -> Option<Decision> {
        if let Some(waiting) = self.waiting.get(key) {
            return waiting.decision.clone();
        }
        match &self.file {
            File::Open(_, disk) => disk.get(key),
            _ => None,
        }
    }

    /// What the memory alone knows of an entry.
    pub(super) fn summary(&self, key: DecisionKey, row: &Row, now: Moment) -> Decision {
        let lists = |list: &List| {
            let place = order(&row.subject);
            list.until == row.until && list.subjects.binary_search_by_key(&place, order).is_ok()
        };
        let mut sources = self.listed.iter();
        let source =
            sources.find(|(source, list)| Origin::from(*source) == row.origin && lists(list));
        Decision {
            subject: key.subject,
            scope: key.scope,
            action: row.action,
            reason: ReasonCode::Foreign(format!("decision.{}", row.origin.name()).into()),
            source: source.map_or_else(|| row.origin.anonymous(), |(source, _)| source.clone()),
            evidence: String::new(),
            note: String::new(),
            requests: Vec::new(),
            made_ms: 0,
            until_ms: now.unix_time_of(row.until),
        }
    }
}

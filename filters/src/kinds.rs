//! The kinds of filter, and the registry that knows them all.
//!
//! **Adding a kind** means: a file here whose header comment is its manual entry, its `mod` line, and
//! its line in `kinds!`, which makes everything else of it.

use serde::Deserialize;
use thornwall_settings::report::Noted;
use toml::Spanned;

use crate::{
    context::FilterContext,
    decide::DecideSpec,
    filter::Filter,
    mode::{Mode, OnError},
    when::When,
};

pub(crate) mod anomaly;
pub(crate) mod bandwidth;
pub mod blocklist;
pub(crate) mod escalate;
pub(crate) mod heuristics;
pub(crate) mod in_flight;
pub(crate) mod rate_limit;

/// What the table of a kind of filter is.
pub(crate) trait Kind: Sized {
    /// What such a filter costs each request, in the order of magnitude that its histogram shows.
    const COST: &'static str;

    /// Builds a filter from its table, or notes in the report what is wrong with it.
    fn build(spec: &Spanned<Self>, context: &mut FilterContext) -> Result<Box<dyn Filter>, Noted>;
}

/// What is known of a kind without a filter of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindFacts {
    /// The key of its table.
    pub name: &'static str,
    /// What a filter of this kind costs each request.
    pub cost: &'static str,
}

/// The table of a filter, whichever kind it is of.
trait Table {
    fn build(&self, context: &mut FilterContext) -> Result<Box<dyn Filter>, Noted>;
}

impl<K: Kind> Table for Spanned<K> {
    fn build(&self, context: &mut FilterContext) -> Result<Box<dyn Filter>, Noted> {
        K::build(self, context)
    }
}

/// Makes the table of a filter, with a field for each kind, and the list of kinds.
macro_rules! kinds {
    ($($(#[$about:meta])* $kind:ident,)+) => {
        /// One `[[pipeline.filter]]` table, which must have exactly one kind.
        ///
        /// Kinds are fields, since serde then reports the exact line and column of every mistake.
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct FilterSpec {
            /// Unique within the pipeline; the label of metrics and logs.
            pub name: Spanned<String>,
            /// Whether its verdicts are enforced or only observed.
            #[serde(default)]
            pub mode: Mode,
            /// What a failure of the filter means.
            #[serde(default)]
            pub on_error: OnError,
            /// Decisions about clients that it refuses or holds again and again.
            pub decide: Option<Spanned<DecideSpec>>,
            /// Which requests it looks at; all where absent.
            pub when: Option<Spanned<When>>,
            $($(#[$about])* pub $kind: Option<Spanned<$kind::Config>>,)+
        }

        const KINDS: &[KindFacts] = &[$(KindFacts {
            name: stringify!($kind),
            cost: <$kind::Config as Kind>::COST,
        },)+];

        impl FilterSpec {
            /// The tables of kinds, by their places in [`KINDS`].
            fn tables(&self) -> [Option<&dyn Table>; KINDS.len()] {
                [$(self.$kind.as_ref().map(|table| table as &dyn Table),)+]
            }
        }
    };
}

kinds! {
    /// Scores requests with an ONNX model.
    anomaly,
    /// Paces the bodies of answers per key.
    bandwidth,
    /// Denies listed addresses.
    blocklist,
    /// Asks a sidecar for a second opinion.
    escalate,
    /// Weighs user agent, headers, method, path and robots.txt.
    heuristics,
    /// Limits requests under way per key.
    in_flight,
    /// Limits requests per key.
    rate_limit,
}

impl FilterSpec {
    /// Builds the filter, or notes in the report what is wrong with it.
    pub fn build(
        &self,
        context: &mut FilterContext,
    ) -> Result<(KindFacts, Box<dyn Filter>), Noted> {
        let tables = KINDS.iter().zip(self.tables());
        let mut written = tables.filter_map(|(kind, table)| Some((*kind, table?)));
        let (Some((kind, table)), None) = (written.next(), written.next()) else {
            let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            context.report.problem(
                self.name.span(),
                format!(
                    "filter `{}` must have exactly one kind; expected one of {}",
                    self.name.get_ref(),
                    kinds.join(", ")
                ),
            );
            return Err(Noted);
        };
        Ok((kind, table.build(context)?))
    }
}

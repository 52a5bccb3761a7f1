//! A part of a site: who judges its requests, and what answers those that pass.

use std::sync::Arc;

use thornwall_filters::pipeline::Pipeline;

use crate::upstream::Upstream;

/// A part of a site.
pub(crate) struct Route {
    /// Who judges its requests.
    pub pipeline: Arc<Pipeline>,
    /// What answers those that pass.
    pub backend: Backend,
}

/// What answers requests that pass.
pub(crate) enum Backend {
    /// Servers behind a name.
    Upstream(Arc<Upstream>),
}

impl Backend {
    /// The servers that requests go on to, where they go on to some.
    pub(crate) const fn upstream(&self) -> Option<&Arc<Upstream>> {
        match self {
            Self::Upstream(upstream) => Some(upstream),
        }
    }
}

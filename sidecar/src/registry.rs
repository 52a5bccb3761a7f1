//! Registering families of metrics.

use prometheus::{Registry, core::Collector};

/// A family, once it is registered.
pub(crate) fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    family: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

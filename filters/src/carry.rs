//! State that outlives a generation.

use std::{any::Any, collections::HashMap, sync::Arc};

/// State that outlives a generation, by the name of its owner.
pub type Carried = HashMap<String, Arc<dyn Any + Send + Sync>>;

/// What a generation takes over from the one before, and offers to the one after it.
#[derive(Debug, Default)]
pub struct Carry {
    /// State of the running generation that may live on in the next.
    pub previous: Carried,
    /// State of the generation being built.
    pub carried: Carried,
}

impl Carry {
    /// Takes over the running generation's state of this owner and name where `fits` confirms that it
    /// still matches its configuration, or makes it anew.
    pub fn over<T: Any + Send + Sync>(
        &mut self,
        (owner, name): (&str, &str),
        fits: impl FnOnce(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let key = format!("{owner}.{name}");
        let state = self
            .previous
            .get(&key)
            .and_then(|state| Arc::clone(state).downcast::<T>().ok())
            .filter(|state| fits(state))
            .unwrap_or_else(|| Arc::new(make()));
        let kept: Arc<dyn Any + Send + Sync> = Arc::<T>::clone(&state);
        self.carried.insert(key, kept);
        state
    }
}

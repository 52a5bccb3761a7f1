//! The order in which providers are asked: the next one where one does not answer.

use std::sync::Arc;

use parking_lot::Mutex;

use super::provider::Provider;
use crate::asking::circuit_breaker::CircuitBreaker;

/// A provider, with its circuit breaker.
pub(crate) struct Route {
    pub provider: Provider,
    circuit: Mutex<CircuitBreaker>,
}

/// All providers, in the order in which they are written.
pub(crate) struct Router {
    routes: Vec<Arc<Route>>,
    short_bytes: usize,
    private_sites: Vec<String>,
}

impl Route {
    /// A provider that has not failed yet.
    pub(crate) fn new(provider: Provider) -> Self {
        Self {
            provider,
            circuit: Mutex::default(),
        }
    }

    /// Notes that the provider is asked.
    pub(crate) fn begin(&self, now_ms: u64) {
        self.circuit.lock().begin(now_ms);
    }

    /// Notes that the provider answered.
    pub(crate) fn answered(&self) {
        self.circuit.lock().succeeded();
    }

    /// Notes that the provider did not answer.
    pub(crate) fn failed(&self, now_ms: u64) {
        self.circuit.lock().failed(now_ms, None);
    }

    fn rests(&self, now_ms: u64) -> bool {
        self.circuit.lock().is_open(now_ms).is_some()
    }
}

impl Router {
    /// Routes to these providers.
    pub(crate) const fn new(
        routes: Vec<Arc<Route>>,
        short_bytes: usize,
        private_sites: Vec<String>,
    ) -> Self {
        Self {
            routes,
            short_bytes,
            private_sites,
        }
    }

    /// The providers to ask, in this order. A private case stays with local providers; a short one goes to them
    /// first, as a small model is enough for it; the others go to them last.
    pub(crate) fn order(&self, site: &str, prompt_bytes: usize, now_ms: u64) -> Vec<Arc<Route>> {
        let awake = || self.routes.iter().filter(|route| !route.rests(now_ms));
        let local =
            |wanted: bool| awake().filter(move |route| route.provider.config.local == wanted);
        let (near, far) = (local(true).cloned(), local(false).cloned());
        if self.private_sites.iter().any(|private| private == site) {
            near.collect()
        } else if prompt_bytes <= self.short_bytes {
            near.chain(far).collect()
        } else {
            far.chain(near).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Router {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let written = "[[provider]]\nname = 'far'\nuri = 'openai://x'\n\
                       [[provider]]\nname = 'near'\nuri = 'ollama://x'\nlocal = true\n";
        let llm: crate::config::Llm = toml::from_str(written).unwrap();
        let route = |written: toml::Spanned<crate::config::LlmProvider>| {
            Arc::new(Route::new(
                Provider::new(written.into_inner(), None).unwrap(),
            ))
        };
        let routes = llm.provider.into_iter().map(route).collect();
        Router::new(routes, 100, vec!["intranet".to_owned()])
    }

    fn names(router: &Router, site: &str, bytes: usize, now_ms: u64) -> Vec<String> {
        let order = router.order(site, bytes, now_ms);
        order
            .iter()
            .map(|route| route.provider.config.name.clone())
            .collect()
    }

    #[test]
    fn short_and_private_cases_stay_near() {
        let router = router();
        assert_eq!(names(&router, "shop", 100, 0), ["near", "far"]);
        assert_eq!(names(&router, "shop", 101, 0), ["far", "near"]);
        assert_eq!(names(&router, "intranet", 101, 0), ["near"]);
    }

    #[test]
    fn who_fails_is_left_alone() {
        let router = router();
        let far = &router.routes[0];
        for _ in 0..2 {
            far.failed(0);
        }
        assert_eq!(names(&router, "shop", 101, 0), ["far", "near"]);
        far.failed(0);
        assert_eq!(names(&router, "shop", 101, 59_999), ["near"]);
        assert_eq!(names(&router, "shop", 101, 60_000), ["far", "near"]);
        // One question tries whether it is back.
        far.begin(60_000);
        assert_eq!(names(&router, "shop", 101, 60_000), ["near"]);
        far.answered();
        far.failed(60_000);
        assert_eq!(names(&router, "shop", 101, 60_000), ["far", "near"]);
    }
}

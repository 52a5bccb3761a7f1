//! To whom a question goes, and who is next where nobody answers.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use super::provider::Provider;

/// Failures in a row after which a provider is left alone.
const MOST_FAILURES: u32 = 3;
/// For how long at first; twice as long each further time, up to the longest.
const FIRST_REST_MS: u64 = 30_000;
const LONGEST_REST_MS: u64 = 600_000;

/// A provider, and how it has been.
pub struct Route {
    /// Whom to ask.
    pub provider: Provider,
    failures: AtomicU32,
    rests_until_ms: AtomicU64,
}

/// All providers, in the order in which they are written.
pub struct Router {
    routes: Vec<Arc<Route>>,
    short_bytes: usize,
    private_sites: Vec<String>,
}

impl Route {
    /// A provider that has not failed yet.
    pub fn new(provider: Provider) -> Self {
        Self {
            provider,
            failures: AtomicU32::new(0),
            rests_until_ms: AtomicU64::new(0),
        }
    }

    /// Notes that it answered.
    pub fn answered(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Notes that it did not.
    pub fn failed(&self, now_ms: u64) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(rests) = failures.checked_sub(MOST_FAILURES) {
            let rest_ms = (FIRST_REST_MS << rests.min(10)).min(LONGEST_REST_MS);
            self.rests_until_ms
                .store(now_ms + rest_ms, Ordering::Relaxed);
        }
    }

    fn rests(&self, now_ms: u64) -> bool {
        now_ms < self.rests_until_ms.load(Ordering::Relaxed)
    }
}

impl Router {
    /// Routes to these providers.
    pub const fn new(
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

    /// Who is asked, in this order. A private case stays with local providers; a short one goes to them
    /// first, as a small model is enough for it; the others go to them last.
    pub fn order(&self, site: &str, prompt_bytes: usize, now_ms: u64) -> Vec<Arc<Route>> {
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
    fn who_fails_is_left_alone_for_longer_and_longer() {
        let router = router();
        let far = &router.routes[0];
        for _ in 0..2 {
            far.failed(0);
        }
        assert_eq!(names(&router, "shop", 101, 0), ["far", "near"]);
        far.failed(0);
        assert_eq!(names(&router, "shop", 101, 29_999), ["near"]);
        assert_eq!(names(&router, "shop", 101, 30_000), ["far", "near"]);
        far.failed(30_000);
        assert_eq!(names(&router, "shop", 101, 89_999), ["near"]);
        far.answered();
        far.failed(90_000);
        assert_eq!(names(&router, "shop", 101, 90_000), ["far", "near"]);
    }
}

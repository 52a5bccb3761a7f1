//! Language models: each vendor's shapes, everything that can go wrong with one, what attackers make
//! them say, and what they may cost. The vendor is played by a server that speaks its documented
//! shapes.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod attacks;
mod costs;
mod faults;
mod stand_in;
mod vendors;

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use tempfile::NamedTempFile;
use thornwall_proto::v1;
use thornwall_sidecar::{
    assess::{Assessor, Memory, Step},
    assessment::{Assessment, TakenStep},
    case::{Case, CaseId},
    config::{Band, LadderSpec, Llm as Settings},
    llm::{Ledger, Llm, Paid, Provider},
    metrics::Metrics,
};

/// An assessor with one more step, and what it counts.
struct Bench {
    assessor: Assessor,
    /// The same without that step.
    cheap: Assessor,
    metrics: Metrics,
    paid: Arc<Paid>,
}

impl Bench {
    /// One with these settings of `[llm]`.
    fn new(written: &str) -> Self {
        // Whoever comes first installs it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let settings: Settings = toml::from_str(written).unwrap();
        let metrics = Metrics::new().unwrap();
        let paid = Arc::new(Paid::new(Ledger::in_memory().unwrap(), &metrics.llm));
        let providers = settings.provider.iter().map(|one| {
            let one = one.get_ref().clone();
            let key = one.key_file.as_ref().map(|_| key_file().to_path_buf());
            Provider::new(one, key).unwrap()
        });
        let band = Band::default();
        let step: Arc<dyn Step> = Arc::new(Llm::new(
            settings.clone(),
            band.to,
            providers.collect(),
            Arc::clone(&paid),
            metrics.llm.clone(),
        ));
        let memory = Arc::new(Memory::default());
        let assessor =
            |steps| Assessor::new(LadderSpec::default(), band, Arc::clone(&memory), steps);
        Self {
            assessor: assessor(vec![step]),
            cheap: assessor(Vec::new()),
            metrics,
            paid,
        }
    }

    async fn assess(&self, case: &Case, now_ms: u64) -> Assessment {
        self.assessor.assess_fully(case, now_ms).await.assessment
    }

    /// The value of a line of the metrics.
    fn metric(&self, line: &str) -> f64 {
        let text = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        let found = text.lines().find_map(|found| found.strip_prefix(line));
        found.map_or(0.0, |value| value.trim().parse().unwrap())
    }
}

/// A file with the key of every vendor, which is there as a whole or not at all: tests read it at once.
fn key_file() -> &'static Path {
    static KEY: OnceLock<PathBuf> = OnceLock::new();
    KEY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let mut file = NamedTempFile::new_in(folder).unwrap();
        file.write_all(b"the-key\n").unwrap();
        let key = folder.join("llm-key");
        file.persist(&key).unwrap();
        key
    })
}

/// The step that a model was asked in.
fn step(assessment: &Assessment) -> &TakenStep {
    let step = assessment.steps.iter().find(|step| step.name == "llm");
    step.unwrap_or_else(|| panic!("{assessment:?}"))
}

/// A case with this score, whose record says `user_agent`.
fn case(id: u128, score: f32, user_agent: &str) -> v1::Case {
    let sample = |number: u32| v1::Request {
        after_ms: number * 40_000,
        method: "GET".to_owned(),
        path: "/item/1".to_owned(),
        ..v1::Request::default()
    };
    v1::Case {
        id: CaseId(id).to_string(),
        site: "shop".to_owned(),
        subject: format!("10.{}.{}.7", id / 250 % 250, id % 250),
        requests: 3,
        first_ms: 0,
        last_ms: 120_000,
        score,
        samples: (0..3).map(sample).collect(),
        claims: Some(v1::Claims {
            user_agent: user_agent.to_owned(),
            http_version: 11,
            ..v1::Claims::default()
        }),
        ..v1::Case::default()
    }
}

fn checked(case: v1::Case) -> Case {
    Case::try_from(case).unwrap()
}

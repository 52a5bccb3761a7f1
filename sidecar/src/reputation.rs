//! The step `reputation`: what services know of a client's address.
//!
//! A service is asked about one address at a time and answers with a number. Below `floor` it weighs
//! nothing: a client that was reported once shares an address with many who were not. From there on it weighs
//! its share of the worst number, times `most_weight`: AbuseIPDB's 50 of 100 weighs 0.3, which is what
//! the predecessor added from 50 on, and 100 weighs 0.6. So a worse number never weighs less, an
//! address alone condemns no client, and no answer of a service speaks for a client. Of several
//! services the one that weighs most counts, since they learn from each other.
//!
//! Only addresses of the internet are sent to services. Gateways name IPv6 clients by their /64, and
//! AbuseIPDB keeps single addresses, so that a /64 is asked about only where `networks` declares that the
//! service knows them; then by its first address.

mod abuseipdb;
mod generic;

#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::{Client, RequestBuilder};
use thornwall_decisions::prefix_set::Prefix;
use thornwall_detectors::address::is_global;

use self::{abuseipdb::AbuseIpDb, generic::Generic};
use crate::{
    asking::{Asker, Failure, MOST_ANSWER, Services},
    assess::{Finding, Step, StepError},
    case::Case,
    config::{self, ConfigError, ConfigFile, Kind},
    http::{self, exchange},
};

/// The step `reputation`, with its services.
pub(crate) struct Reputation(Vec<Arc<Provider>>);

/// A service that knows addresses.
struct Provider {
    asker: Asker<IpAddr>,
    client: Client,
    how: How,
    scale: Scale,
    networks: bool,
}

/// How a service is asked, and how its answer is read.
enum How {
    AbuseIpDb(AbuseIpDb),
    Generic(Generic),
}

/// A service's report on an address.
#[derive(Debug, Clone, PartialEq)]
struct Report {
    /// 0 to the worst number of its scale.
    score: f64,
    /// Whether it vouches for the address, whatever the number.
    vouched: bool,
    /// What else people may want to know.
    details: String,
}

/// From a number to a weight.
#[derive(Debug, Clone, Copy)]
struct Scale {
    floor: f64,
    full: f64,
    most_weight: f32,
}

impl Scale {
    fn weight(self, report: &Report) -> f32 {
        if report.vouched || report.score < self.floor {
            return 0.0;
        }
        self.most_weight * (report.score / self.full) as f32
    }
}

impl Reputation {
    /// The step, where a file names a service.
    pub(crate) fn build(
        file: &ConfigFile,
        services: &Services,
    ) -> Result<Option<Self>, ConfigError> {
        let made = file.config.reputation.iter();
        let made = made.map(|service| Provider::build(file, service, services).map(Arc::new));
        let made: Vec<Arc<Provider>> = made.collect::<Result<_, _>>()?;
        Ok((!made.is_empty()).then_some(Self(made)))
    }
}

#[async_trait]
impl Step for Reputation {
    fn name(&self) -> &'static str {
        "reputation"
    }

    fn recall(&self, case: &Case, now_ms: u64) -> Option<Finding> {
        let known = self.0.iter().map(|provider| {
            let Some(address) = provider.address_of(case.subject) else {
                return Some(provider.silent());
            };
            provider.asker.recall(&address, now_ms)
        });
        known.collect::<Option<Vec<_>>>().map(joined)
    }

    async fn ask(&self, case: &Case, now_ms: u64) -> Result<Finding, StepError> {
        let (mut found, mut failed) = (Vec::new(), Vec::new());
        for provider in &self.0 {
            match provider.ask(case.subject, now_ms).await {
                Ok(answer) => found.push(answer),
                Err(StepError(what)) => failed.push(what),
            }
        }
        if found.is_empty() {
            return Err(StepError(failed.join("; ")));
        }
        found.extend(failed.into_iter().map(|what| Finding::new(0.0, what)));
        Ok(joined(found))
    }
}

/// The greatest weight, and the evidence of all.
fn joined(found: Vec<Finding>) -> Finding {
    let weight = found.iter().map(|one| one.weight).fold(0.0, f32::max);
    let said: Vec<String> = found.into_iter().map(|one| one.evidence).collect();
    Finding::new(weight, said.join("; "))
}

impl Provider {
    fn build(
        file: &ConfigFile,
        service: &config::Reputation,
        services: &Services,
    ) -> Result<Self, ConfigError> {
        let name = service.name.get_ref();
        let how = match service.kind {
            Kind::Abuseipdb => How::AbuseIpDb(AbuseIpDb::build(file, service)?),
            Kind::Http => How::Generic(Generic::build(file, service)?),
        };
        let limits = service.limits.get_ref();
        let timeout = Duration::from_secs(limits.timeout_secs.into());
        let client = http::client(timeout)?;
        Ok(Self {
            asker: Asker::new(services.service(name, limits), limits),
            client,
            how,
            scale: Scale {
                floor: service.floor(),
                full: service.full(),
                most_weight: *service.most_weight.get_ref(),
            },
            networks: service.networks,
        })
    }

    /// The address to ask about; `None` where the client must not be named to the service,
    /// or the service cannot know it.
    fn address_of(&self, subject: Prefix) -> Option<IpAddr> {
        let (first, last) = (subject.first(), subject.last());
        (is_global(first, last) && (first == last || self.networks)).then_some(first)
    }

    fn silent(&self) -> Finding {
        let what = format!("{}: not asked about such addresses", self.asker.service());
        Finding::new(0.0, what)
    }

    async fn ask(&self, subject: Prefix, now_ms: u64) -> Result<Finding, StepError> {
        let Some(address) = self.address_of(subject) else {
            return Ok(self.silent());
        };
        self.asker.ask(address, now_ms, self.call(address)).await
    }

    async fn call(&self, address: IpAddr) -> Result<Finding, Failure> {
        let request = self.how.request(&self.client, address)?;
        let report = self
            .how
            .read(&exchange(request, MOST_ANSWER).await?, address)?;
        if !(0.0..=self.scale.full).contains(&report.score) {
            return Err(Failure::new("a number that is out of range"));
        }
        let Report { score, details, .. } = &report;
        let evidence = format!(
            "{}: {score} of {}{details}",
            self.asker.service(),
            self.scale.full
        );
        Ok(Finding::new(self.scale.weight(&report), evidence))
    }
}

impl How {
    fn request(&self, client: &Client, address: IpAddr) -> Result<RequestBuilder, Failure> {
        match self {
            Self::AbuseIpDb(how) => how.request(client, address),
            Self::Generic(how) => how.request(client, address),
        }
    }

    fn read(&self, answer: &http::Answer, address: IpAddr) -> Result<Report, Failure> {
        match self {
            Self::AbuseIpDb(how) => how.read(answer, address),
            Self::Generic(how) => how.read(answer),
        }
    }
}

//! The only loop over filters: it owns mode, failure policy, conditions, timing and counting, and
//! turns what the filters noticed into one ruling.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use smallvec::SmallVec;
use thornwall_detectors::{
    request::RequestView,
    signal::{Reason, Signal, Trail},
};
use thornwall_settings::report::Report;
use toml::Spanned;

use self::ladder::Slower;
use thornwall_decisions::{decision::Action, ladder::Ladder};

use crate::{
    context::FilterContext,
    decide::{Decide, DecideSpec, Proposal},
    escalation::Referral,
    filter::{Filter, Holds, Round},
    key::KeySeed,
    kinds::{FilterSpec, KindFacts},
    metrics::{FilterMetrics, StageMetrics},
    mode::{Mode, OnError},
    rate::{adaptive::Adaptive, pages::may_be_page},
    verdict::{Answer, Denial, Refusal, Ruling, Verdict},
    watcher::{Answer as Begun, Finished, Note, Watcher},
    when::Condition,
};

mod ladder;

pub use ladder::{LadderSpec, ThrottleSpec};

/// One `[[pipeline]]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineSpec {
    /// What sites call it by.
    pub name: Spanned<String>,
    /// Filters, in the order in which they are asked.
    #[serde(default)]
    pub filter: Vec<FilterSpec>,
    /// Score at which each action starts; without it the score is only shown.
    pub ladder: Option<Spanned<LadderSpec>>,
    /// Decisions about clients that the ladder holds or refuses again and again.
    pub decide: Option<Spanned<DecideSpec>>,
    /// The slower rate of throttled clients.
    pub throttle: Option<Spanned<ThrottleSpec>>,
}

/// A pipeline that is ready to judge.
pub struct Pipeline {
    /// What sites call it by.
    pub name: String,
    filter_names: Arc<[String]>,
    stages: Vec<Stage>,
    ladder: Ladder,
    decide: Option<Decide>,
    slower: Slower,
    adaptive: Vec<(String, Arc<Adaptive>)>,
    key_seed: KeySeed,
}

/// One filter and what the runner does around it.
struct Stage {
    name: String,
    kind: KindFacts,
    /// Whether it is the filter that enforces what is decided, whatever a client asks for.
    enforces_decisions: bool,
    filter: Box<dyn Filter>,
    mode: Mode,
    on_error: OnError,
    condition: Option<Condition>,
    decide: Option<Decide>,
    metrics: StageMetrics,
}

/// What a pipeline made of one request.
#[derive(Debug)]
pub struct Judgement {
    /// What happens now.
    pub ruling: Ruling,
    /// Whether the client is held to the slower rate.
    pub throttled: bool,
    /// All signals that were noticed.
    pub trail: Trail,
    /// The trail as one number, 0..1.
    pub score: f32,
    /// A decision that is to be made about the client.
    pub proposal: Option<Box<Proposal>>,
    /// Facts of the request for a second opinion.
    pub referral: Option<Referral>,
    /// Holds that last until the request ends; none where it is answered at once.
    pub holds: Holds,
    /// How long each filter that was asked took, by its place in the pipeline.
    pub timings: Timings,
    /// What filters noted for their watchers.
    pub notes: Notes,
}

impl Judgement {
    /// The judgement of a request that is answered without asking any filter.
    pub fn without_filters(answer: Answer) -> Self {
        let ruling = Ruling::Answer(answer);
        let mut trail = Trail::default();
        if let Some(reason) = ruling.reason() {
            trail.push(Signal::new(reason, 1.0));
        }
        Self {
            ruling,
            throttled: false,
            score: trail.score(),
            trail,
            proposal: None,
            referral: None,
            holds: Holds::default(),
            timings: Timings::new(),
            notes: Notes::new(),
        }
    }
}

/// Place of a filter in its pipeline, and the nanoseconds that it took.
pub type Timings = SmallVec<[(u8, u32); 6]>;

/// Place of a filter in its pipeline, or `SLOWER`, and what it noted about a request.
pub type Notes = SmallVec<[(u8, Note); 1]>;

/// The place of what the slower rate noted.
const SLOWER: u8 = u8::MAX;

impl Pipeline {
    /// Builds the pipeline; what is wrong with it goes into `context`.
    pub fn build(
        spec: &PipelineSpec,
        metrics: &FilterMetrics,
        context: &mut FilterContext,
    ) -> Option<Self> {
        let name = spec.name.get_ref();
        check_filter_names(spec, &mut context.report);
        warn_of_order(spec, &mut context.report);
        let stages: Vec<Option<Stage>> = spec
            .filter
            .iter()
            .map(|filter| Stage::build(name, filter, metrics, context))
            .collect();
        let adaptive = std::mem::take(&mut context.adaptive).into_iter();
        let filter = |scope: String| scope[name.len() + 1..].to_owned();
        let adaptive = adaptive.map(|(scope, adaptive)| (filter(scope), adaptive));
        context.report.scope = format!("{name}.ladder");
        let decide = spec.decide.as_ref();
        let decide = decide.map(|spec| Decide::build(spec.get_ref(), context));
        context.report.scope.clone_from(name);
        let ladder = ladder::build(spec.ladder.as_ref(), &mut context.report);
        let slower = Slower::build(spec.throttle.as_ref(), context);
        Some(Self {
            name: name.clone(),
            filter_names: spec
                .filter
                .iter()
                .map(|f| f.name.get_ref().clone())
                .collect(),
            stages: stages.into_iter().collect::<Option<_>>()?,
            ladder: ladder?,
            decide: match decide {
                Some(decide) => Some(decide?),
                None => None,
            },
            slower,
            adaptive: adaptive.collect(),
            key_seed: context.key_seed,
        })
    }

    /// Judges one request.
    pub fn judge(&self, request: &RequestView<'_>) -> Judgement {
        let mut round = Round::default();
        let (mut timings, mut notes) = (Timings::new(), Notes::new());
        let asked = self.ask_filters(request, &mut round, &mut timings, &mut notes);
        let (verdict, decide) = match asked {
            Some((verdict, stage)) => (verdict, stage.decide.as_ref()),
            None => (self.ladder_verdict(&round.trail), self.decide.as_ref()),
        };
        let offence = match verdict {
            Verdict::Act(action, reason) => (!action.serves()).then_some(reason),
            Verdict::Limit(denial) => Some(denial.reason),
            Verdict::Allow(_) | Verdict::Pass => None,
        };
        let proposal = decide.zip(offence);
        let proposal = proposal.and_then(|(decide, reason)| decide.count(request, reason));
        let Round {
            trail,
            mut holds,
            referral,
            ..
        } = round;
        let ruling = self.rule(verdict, request, &mut notes);
        if ruling != Ruling::Forward {
            holds.release();
            notes.clear();
        }
        Judgement {
            ruling,
            throttled: matches!(verdict, Verdict::Act(Action::Throttle, _)),
            score: trail.score(),
            trail,
            proposal: proposal.map(Box::new),
            referral,
            holds,
            timings,
            notes,
        }
    }

    /// Notifies the filters' watchers, and the slower rate, of the origin's answer.
    pub fn answered(&self, notes: &Notes, answer: &Begun) {
        for (place, note) in notes {
            match self.watcher(*place) {
                Some(watcher) => watcher.answered(note, answer),
                None => self.slower.settle(note, answer),
            }
        }
    }

    /// Notifies the filters' watchers of the end of a request that was forwarded.
    pub fn finished(&self, notes: &Notes, finished: &Finished) {
        for (place, note) in notes {
            if let Some(watcher) = self.watcher(*place) {
                watcher.watch(note, finished);
            }
        }
    }

    fn watcher(&self, place: u8) -> Option<&dyn Watcher> {
        self.stages.get(usize::from(place))?.filter.watcher()
    }

    /// Whether what is decided about a client is enforced here, whatever it asks for.
    pub fn enforces_decisions(&self) -> bool {
        self.stages.iter().any(|stage| stage.enforces_decisions)
    }

    /// Limits that change with the origin, by the names of their filters.
    pub fn adaptive(&self) -> &[(String, Arc<Adaptive>)] {
        &self.adaptive
    }

    /// Names and kinds of the filters, in order, for people.
    pub fn describe(&self) -> impl Iterator<Item = (&str, KindFacts, Mode)> {
        self.stages
            .iter()
            .map(|stage| (stage.name.as_str(), stage.kind, stage.mode))
    }

    /// Names of the filters by their place, which [`Timings`] refer to.
    pub fn filter_names(&self) -> Arc<[String]> {
        Arc::clone(&self.filter_names)
    }

    /// Score at which each action starts, for people.
    pub const fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// The first verdict that ends the round, with its filter, if there is one.
    fn ask_filters(
        &self,
        request: &RequestView<'_>,
        round: &mut Round,
        timings: &mut Timings,
        notes: &mut Notes,
    ) -> Option<(Verdict, &Stage)> {
        let mut before = now();
        for (place, stage) in (0_u8..).zip(&self.stages) {
            if !stage.applies(request) {
                continue;
            }
            let verdict = stage.ask(request, round);
            let after = now();
            let took = after.saturating_duration_since(before);
            before = after;
            stage.count(&verdict, took);
            timings.push((place, u32::try_from(took.as_nanos()).unwrap_or(u32::MAX)));
            notes.extend(round.note.take().map(|note| (place, note)));
            if verdict != Verdict::Pass && stage.mode == Mode::Enforce {
                return Some((verdict, stage));
            }
        }
        None
    }

    /// The harshest action that the trail's score reaches, put down to its strongest signal.
    fn ladder_verdict(&self, trail: &Trail) -> Verdict {
        let strongest = trail.strongest();
        let reached = strongest.zip(self.ladder.action(trail.score()));
        reached.map_or(Verdict::Pass, |(signal, action)| {
            Verdict::Act(action, signal.reason)
        })
    }

    fn rule(&self, verdict: Verdict, request: &RequestView<'_>, notes: &mut Notes) -> Ruling {
        match verdict {
            Verdict::Allow(_) | Verdict::Pass => Ruling::Forward,
            Verdict::Limit(denial) => Ruling::Answer(Answer::Deny(denial)),
            Verdict::Act(Action::Deny, reason) => {
                Ruling::Answer(Answer::Deny(Denial::forbidden(reason)))
            }
            Verdict::Act(Action::Tarpit, reason) => Ruling::Answer(Answer::Tarpit(reason)),
            Verdict::Act(Action::Throttle, _) => {
                let client = (request.site.id, request.client);
                self.slow_down(client, may_be_page(request), request.now, notes)
            }
        }
    }

    /// A throttled client of a site is served while it stays below its slower rate. A request that
    /// may be for a page pays for one beforehand.
    pub fn slow_down(
        &self,
        (site, client): (u16, IpAddr),
        wants_page: bool,
        now: Duration,
        notes: &mut Notes,
    ) -> Ruling {
        let client = self.key_seed.client(site, client);
        match self.slower.ask(wants_page, client, now) {
            Ok(note) => {
                notes.push((SLOWER, note));
                Ruling::Forward
            }
            Err(limit) => Ruling::Answer(Answer::Deny(Denial {
                reason: Reason::ThrottleExceeded,
                refusal: Refusal::Limited(limit),
            })),
        }
    }
}

impl Stage {
    fn build(
        pipeline: &str,
        spec: &FilterSpec,
        metrics: &FilterMetrics,
        context: &mut FilterContext,
    ) -> Option<Self> {
        let name = spec.name.get_ref().clone();
        context.report.scope = format!("{pipeline}.{name}");
        let condition = spec
            .when
            .as_ref()
            .map(|when| Condition::build(when.get_ref(), &mut context.report));
        let decide = match &spec.decide {
            Some(decide) => Some(Decide::build(decide.get_ref(), context)?),
            None => None,
        };
        let (kind, filter) = spec.build(context).ok()?;
        let always = spec.mode == Mode::Enforce && condition.is_none();
        Some(Self {
            kind,
            enforces_decisions: always && spec.blocklist.is_some(),
            filter,
            mode: spec.mode,
            on_error: spec.on_error,
            condition,
            decide,
            metrics: metrics.stage(pipeline, &name, spec.mode),
            name,
        })
    }

    fn applies(&self, request: &RequestView<'_>) -> bool {
        self.condition
            .as_ref()
            .is_none_or(|condition| condition.holds(request))
    }

    /// Asks the filter, and settles a failure as configured.
    fn ask(&self, request: &RequestView<'_>, round: &mut Round) -> Verdict {
        round.observe(self.mode == Mode::Observe);
        let verdict = self
            .filter
            .judge(request, round)
            .unwrap_or_else(|error| self.settle(&error, &mut round.trail));
        round.observe(false);
        if self.mode == Mode::Observe {
            // What a second opinion comes to would be an effect.
            round.referral = None;
        }
        verdict
    }

    fn count(&self, verdict: &Verdict, took: Duration) {
        self.metrics.duration.observe(took.as_secs_f64());
        self.metrics.count(verdict);
    }

    fn settle(&self, error: &crate::filter::FilterError, trail: &mut Trail) -> Verdict {
        self.metrics.errors.inc();
        log::debug!("filter failed; filter={} error={error}", self.name);
        trail.push(Signal::new(Reason::FilterFailed, 0.0));
        match self.on_error {
            OnError::Deny => Verdict::Act(Action::Deny, Reason::FilterFailed),
            OnError::Pass => Verdict::Pass,
        }
    }
}

/// The clock of the timings; filters themselves get `RequestView.now`.
#[expect(
    clippy::disallowed_methods,
    reason = "the runner is the one place that times filters"
)]
fn now() -> Instant {
    Instant::now()
}

/// Most filters of one pipeline: their places are counted in a byte, and each costs time.
const MOST_FILTERS: usize = 64;

/// Warns where `anomaly` stands before `heuristics`: the model's weight rests on what the rules have
/// noticed before it.
fn warn_of_order(spec: &PipelineSpec, report: &mut Report) {
    let place = |is_it: fn(&FilterSpec) -> bool| spec.filter.iter().position(is_it);
    let Some(model) = place(|filter| filter.anomaly.is_some()) else {
        return;
    };
    let rules = place(|filter| filter.heuristics.is_some());
    if rules.is_none_or(|rules| rules > model) {
        let (pipeline, filter) = (spec.name.get_ref(), spec.filter[model].name.get_ref());
        report.warnings.push(format!(
            "{pipeline}.{filter}: `anomaly` stands before `heuristics` or without it, so it cannot tell who \
             contradicts himself, and what is noticed later adds to its weight"
        ));
    }
}

fn check_filter_names(spec: &PipelineSpec, report: &mut Report) {
    if spec.filter.len() > MOST_FILTERS {
        let what = format!("more than {MOST_FILTERS} filters in one pipeline");
        report.problem(spec.name.span(), what);
    }
    for (at, filter) in spec.filter.iter().enumerate() {
        let name = filter.name.get_ref();
        if name.is_empty() {
            report.problem(filter.name.span(), "empty filter name; expected a label");
        }
        if spec.filter[..at]
            .iter()
            .any(|other| other.name.get_ref() == name)
        {
            let what = format!("filter `{name}` is there twice; expected unique names");
            report.problem(filter.name.span(), what);
        }
    }
}

#[cfg(test)]
mod tests;

//! What Prometheus may ask about this gateway.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::session::hub::{Delivered, Hub};
use crate::session::socket::Ending;

/// What became of a connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectOutcome {
    Ready,
    Invalid,
    Unauthorized,
    ForeignOrigin,
    TooManySessions,
    Overloaded,
    Draining,
}

impl ConnectOutcome {
    fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Invalid => "invalid",
            Self::Unauthorized => "unauthorized",
            Self::ForeignOrigin => "foreign_origin",
            Self::TooManySessions => "too_many_sessions",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
        }
    }
}

/// What became of a resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResumeOutcome {
    Resumed,
    /// Too many wait.
    Overloaded,
    /// The api-servers were away.
    Failed,
    /// The session ended before it.
    CutOff,
    /// Another was running.
    Refused,
}

impl ResumeOutcome {
    fn word(self) -> &'static str {
        match self {
            Self::Resumed => "resumed",
            Self::Overloaded => "overloaded",
            Self::Failed => "failed",
            Self::CutOff => "cut_off",
            Self::Refused => "refused",
        }
    }
}

/// What became of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GapOutcome {
    Filled,
    GivenUp,
}

/// What became of acks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckOutcome {
    Flushed,
    Dropped,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// `code` is the close code, or 1005 and 1006 where there was none (RFC 6455, 7.4.1); `by` is client or server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CloseLabels {
    code: u16,
    by: &'static str,
}

pub(crate) struct Metrics {
    registry: Registry,
    sessions: Gauge,
    users: Gauge,
    connects: Family<OutcomeLabels, Counter>,
    closes: Family<CloseLabels, Counter>,
    frames: Counter,
    absent: Counter,
    overflows: Counter,
    resumes: Family<OutcomeLabels, Counter>,
    log_reads: Family<OutcomeLabels, Counter>,
    gaps: Family<OutcomeLabels, Counter>,
    acks: Family<OutcomeLabels, Counter>,
    pub(crate) log_pages_shared: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) api_failures: Counter,
    pub(crate) registry_failures: Counter,
    pub(crate) deliver_seconds: Histogram,
    pub(crate) deliver_batch: Histogram,
    pub(crate) trace_spans_dropped: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("naru_gateway"),
            sessions: Gauge::default(),
            users: Gauge::default(),
            connects: Family::default(),
            closes: Family::default(),
            frames: Counter::default(),
            absent: Counter::default(),
            overflows: Counter::default(),
            resumes: Family::default(),
            log_reads: Family::default(),
            gaps: Family::default(),
            acks: Family::default(),
            log_pages_shared: Counter::default(),
            duplicates: Counter::default(),
            api_failures: Counter::default(),
            registry_failures: Counter::default(),
            // 50 µs to 0.8 s.
            deliver_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 15)),
            // 1 to 8,192 recipients.
            deliver_batch: Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            trace_spans_dropped: Counter::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("sessions", "Sessions held now", self.sessions.clone());
        registry.register("users", "Users with a session here now", self.users.clone());
        registry.register("connects", "Connects by outcome", self.connects.clone());
        registry.register("closes", "Sessions ended, by close code", self.closes.clone());
        registry.register("frames_delivered", "Entries put into mailboxes", self.frames.clone());
        registry.register(
            "deliveries_absent",
            "Recipients without a foreground session here",
            self.absent.clone(),
        );
        registry.register("mailbox_overflows", "Sessions closed for not keeping up", self.overflows.clone());
        registry.register("resumes", "Resumes by outcome", self.resumes.clone());
        registry.register(
            "log_reads",
            "Pages of channels' logs read from an api-server",
            self.log_reads.clone(),
        );
        registry.register(
            "log_pages_shared",
            "Pages of channels' logs for which a session needed no read of its own",
            self.log_pages_shared.clone(),
        );
        registry.register("gaps", "Gaps before an entry, by what became of them", self.gaps.clone());
        registry.register(
            "duplicates_dropped",
            "Entries that a session had already",
            self.duplicates.clone(),
        );
        registry.register("acks", "Acks reported to an api-server, and dropped ones", self.acks.clone());
        registry.register(
            "api_failures",
            "Calls of api-servers that failed, each attempt",
            self.api_failures.clone(),
        );
        registry.register(
            "registry_failures",
            "Round trips to the session registry that failed, lease renewals among them",
            self.registry_failures.clone(),
        );
        registry.register_with_unit(
            "deliver_request_duration",
            "Time that a deliver request took here",
            Unit::Seconds,
            self.deliver_seconds.clone(),
        );
        registry.register(
            "deliver_request_recipients",
            "Recipients in a deliver request",
            self.deliver_batch.clone(),
        );
        registry.register(
            "trace_spans_dropped",
            "Spans of traces for which there was no room or no collector",
            self.trace_spans_dropped.clone(),
        );
    }

    pub(crate) fn connected(&self, outcome: ConnectOutcome) {
        self.connects.get_or_create(&OutcomeLabels { outcome: outcome.word() }).inc();
    }

    pub(crate) fn resumed(&self, outcome: ResumeOutcome) {
        self.resumes.get_or_create(&OutcomeLabels { outcome: outcome.word() }).inc();
    }

    pub(crate) fn log_read(&self, has_succeeded: bool) {
        let outcome = if has_succeeded { "read" } else { "failed" };
        self.log_reads.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn gap(&self, outcome: GapOutcome) {
        let outcome = match outcome {
            GapOutcome::Filled => "filled",
            GapOutcome::GivenUp => "given_up",
        };
        self.gaps.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn acked(&self, outcome: AckOutcome, count: usize) {
        let outcome = match outcome {
            AckOutcome::Flushed => "flushed",
            AckOutcome::Dropped => "dropped",
        };
        self.acks.get_or_create(&OutcomeLabels { outcome }).inc_by(count as u64);
    }

    pub(crate) fn closed(&self, ending: Ending) {
        let (code, by) = match ending {
            // A client may choose among thousands of codes; they must not become as many time series.
            Ending::ByClient(code) => (code.unwrap_or(1005).min(3000), "client"),
            Ending::Gone => (1006, "client"),
            Ending::Silent => (1006, "server"),
            Ending::Ours(code) => (code, "server"),
        };
        self.closes.get_or_create(&CloseLabels { code, by }).inc();
    }

    pub(crate) fn delivered(&self, delivered: &Delivered) {
        self.frames.inc_by(delivered.frames);
        self.absent.inc_by(delivered.absent.len() as u64);
        self.overflows.inc_by(delivered.overflows);
    }

    /// The registry, with the gauges as they are now.
    pub(crate) fn current(&self, hub: &Hub) -> &Registry {
        self.sessions.set(hub.session_count() as i64);
        self.users.set(hub.user_count() as i64);
        &self.registry
    }
}

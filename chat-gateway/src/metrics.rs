//! What this gateway counts, by Prometheus' conventions; `docs/metrics.md` says what each means.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use shared_runtime::metrics::{
    OutcomeLabels, by_outcome, register_build_info, register_redis, registered, seconds_until_seen,
};

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
    const ALL: [Self; 7] = [
        Self::Ready,
        Self::Invalid,
        Self::Unauthorized,
        Self::ForeignOrigin,
        Self::TooManySessions,
        Self::Overloaded,
        Self::Draining,
    ];

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
    const ALL: [Self; 5] = [Self::Resumed, Self::Overloaded, Self::Failed, Self::CutOff, Self::Refused];

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
    mailbox_frames: Gauge,
    lease_held: Gauge,
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
    pub(crate) deliver_duration: Histogram,
    pub(crate) deliver_recipients: Histogram,
    pub(crate) commit_to_write: Histogram,
    pub(crate) commit_to_ack: Histogram,
    pub(crate) trace_spans_dropped: Counter,
}

impl Metrics {
    /// Registers everything under `naru_gateway_…`, and which version this is.
    /// `redis` counts the connections that were made to it.
    pub(crate) fn new(redis: Option<Counter>) -> Self {
        let mut registry = Registry::default();
        register_build_info(&mut registry, "chat-gateway");
        let gateway = registry.sub_registry_with_prefix("naru_gateway");
        register_redis(gateway, redis);
        Self {
            sessions: registered(gateway, "sessions", "Sessions held now", Gauge::default()),
            users: registered(gateway, "users", "Users with a session here now", Gauge::default()),
            mailbox_frames: registered(
                gateway,
                "mailbox_frames",
                "Frames that wait in sessions' mailboxes now",
                Gauge::default(),
            ),
            lease_held: registered(
                gateway,
                "lease_held",
                "1 while api-servers can find this gateway",
                Gauge::default(),
            ),
            connects: registered(
                gateway,
                "connects",
                "Connects by outcome",
                by_outcome(&ConnectOutcome::ALL.map(ConnectOutcome::word)),
            ),
            closes: registered(gateway, "closes", "Sessions ended, by close code", Family::default()),
            frames: registered(gateway, "frames_delivered", "Entries put into mailboxes", Counter::default()),
            absent: registered(
                gateway,
                "deliveries_absent",
                "Recipients without a foreground session here",
                Counter::default(),
            ),
            overflows: registered(
                gateway,
                "mailbox_overflows",
                "Sessions closed for not keeping up",
                Counter::default(),
            ),
            resumes: registered(
                gateway,
                "resumes",
                "Resumes by outcome",
                by_outcome(&ResumeOutcome::ALL.map(ResumeOutcome::word)),
            ),
            log_reads: registered(
                gateway,
                "log_reads",
                "Pages of channels' logs read from an api-server",
                by_outcome(&["read", "failed"]),
            ),
            log_pages_shared: registered(
                gateway,
                "log_pages_shared",
                "Pages of channels' logs for which a session needed no read of its own",
                Counter::default(),
            ),
            gaps: registered(
                gateway,
                "gaps",
                "Gaps before an entry, by what became of them",
                by_outcome(&["filled", "given_up"]),
            ),
            duplicates: registered(
                gateway,
                "duplicates_dropped",
                "Entries that a session had already",
                Counter::default(),
            ),
            acks: registered(
                gateway,
                "acks",
                "Acks reported to an api-server, and dropped ones",
                by_outcome(&["flushed", "dropped"]),
            ),
            api_failures: registered(
                gateway,
                "api_failures",
                "Calls of api-servers that failed, each attempt",
                Counter::default(),
            ),
            registry_failures: registered(
                gateway,
                "registry_failures",
                "Round trips to the session registry that failed, lease renewals among them",
                Counter::default(),
            ),
            deliver_duration: registered(
                gateway,
                "deliver_request_duration_seconds",
                "Time that a deliver request took here",
                // 50 µs to 0.8 s.
                Histogram::new(exponential_buckets(0.000_05, 2.0, 15)),
            ),
            deliver_recipients: registered(
                gateway,
                "deliver_request_recipients",
                "Recipients in a deliver request",
                // 1 to 8,192.
                Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            ),
            commit_to_write: registered(
                gateway,
                "commit_to_write_seconds",
                "Time from an entry's createdAt, the database's clock, until the kernel had its frame; one recipient of a deliver request",
                seconds_until_seen(),
            ),
            commit_to_ack: registered(
                gateway,
                "commit_to_ack_seconds",
                "Time from an entry's createdAt, the database's clock, to the client's ack of it; of those written ones that clients ack",
                seconds_until_seen(),
            ),
            trace_spans_dropped: registered(
                gateway,
                "trace_spans_dropped",
                "Spans of traces for which there was no room or no collector",
                Counter::default(),
            ),
            registry,
        }
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
    pub(crate) fn current(&self, hub: &Hub, holds_lease: bool) -> &Registry {
        self.sessions.set(hub.session_count() as i64);
        self.users.set(hub.user_count() as i64);
        self.mailbox_frames.set(hub.waiting_frames() as i64);
        self.lease_held.set(i64::from(holds_lease));
        &self.registry
    }
}

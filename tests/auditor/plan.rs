//! The plan of faults: made from the seed before anything starts.

use std::fmt;

use crate::history::Millis;
use crate::random::Random;
use crate::run_state::Phases;
use crate::site::{APIS, GATEWAYS};

/// One fault, when it begins and how long it lasts. What kills lasts no time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub at: Millis,
    pub lasts: Millis,
    pub fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Kill(Process),
    /// SIGSTOP, and SIGCONT in the end.
    Freeze(Process),
    /// SIGTERM: it drains, ends, and is started again.
    Terminate(Process),
    EmptyRedis,
    StopRedis,
    FreezeRedis,
    StopPostgres,
    CutDatabaseConnections,
    FreezePostgres,
    Link(Between, LinkFault),
    Fcm(FcmFault),
    /// FCM says of one push-only device that its target is gone, until it registers a new one.
    LoseTarget {
        phone: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    Api(usize),
    Gateway(usize),
}

/// Two parts that a proxy connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    ClientsAndGateway(usize),
    ApisAndGateway(usize),
    GatewayAndApi(usize),
    ApiAndPostgres(usize),
    ApiAndRedis(usize),
    GatewayAndRedis(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkFault {
    Cut,
    BlackHole,
    /// Milliseconds for each chunk.
    Slow(u64),
}

/// What FCM answers to every push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FcmFault {
    /// 429 with `Retry-After`.
    TooMany,
    Internal,
    /// 503 with `Retry-After`.
    Unavailable,
    /// 401: every access token is refused.
    Unauthorized,
    /// Nothing, for as long as the fault lasts.
    Silence,
    HangUp,
}

/// One fault begins about this often.
const PAUSE: Millis = 1_400;

/// The plan for a run with these phases. `phones` is how many push-only devices there are.
pub fn plan(seed: u64, phases: &Phases, phones: usize) -> Vec<Planned> {
    let random = &mut Random::new(seed, "plan");
    let mut planned: Vec<Planned> = (0..GATEWAYS).map(|index| slow_gateway(random, phases, index)).collect();
    let mut deck = Vec::new();
    let mut at = phases.calm_until + random.between(0, PAUSE);
    while at + 500 < phases.faults_until {
        if deck.is_empty() {
            deck = full_deck();
            random.shuffle(&mut deck);
        }
        let room = phases.faults_until - at;
        for next in deal(random, deck.pop().unwrap_or(Card::KillApi), phones, at, room) {
            // Two faults of one part would end each other.
            if !planned.iter().any(|other| collide(other, &next)) {
                planned.push(next);
            }
        }
        at += random.between(PAUSE / 2, PAUSE * 3 / 2);
    }
    planned.sort_by_key(|planned| planned.at);
    planned
}

/// In the calm before the faults deliveries are slow only: who moves meanwhile must be found where they are.
fn slow_gateway(random: &mut Random, phases: &Phases, index: usize) -> Planned {
    let at = 1_500;
    let slow = Fault::Link(Between::ApisAndGateway(index), LinkFault::Slow(random.between(150, 400)));
    Planned { at, lasts: phases.calm_until.saturating_sub(at + 200), fault: slow }
}

#[derive(Clone, Copy)]
enum Card {
    KillApi,
    /// Killed while what it has stored cannot be delivered yet.
    KillApiWithWork,
    KillGateway,
    FreezeApi,
    FreezeGateway,
    TerminateGateway,
    TerminateApi,
    Redis(Fault),
    Postgres(Fault),
    Link,
    SlowDelivery,
    Fcm,
    LoseTarget,
}

fn full_deck() -> Vec<Card> {
    use Card::*;
    let redis = [Fault::EmptyRedis, Fault::StopRedis, Fault::FreezeRedis].map(Redis);
    let postgres = [Fault::StopPostgres, Fault::CutDatabaseConnections, Fault::FreezePostgres].map(Postgres);
    let mut deck = vec![
        KillApi,
        KillApiWithWork,
        KillApiWithWork,
        KillGateway,
        KillGateway,
        FreezeApi,
        FreezeGateway,
        TerminateGateway,
        TerminateApi,
        Link,
        Link,
        Link,
        Link,
        Link,
        SlowDelivery,
        SlowDelivery,
        Fcm,
        Fcm,
        LoseTarget,
    ];
    deck.extend(redis.into_iter().chain(postgres));
    deck
}

fn deal(random: &mut Random, card: Card, phones: usize, at: Millis, room: Millis) -> Vec<Planned> {
    let api = random.index(APIS);
    let gateway = random.index(GATEWAYS);
    let long = random.between(2_000, 12_000);
    let short = random.between(500, 4_000);
    let (lasts, fault) = match card {
        Card::KillApi => (0, Fault::Kill(Process::Api(api))),
        Card::KillApiWithWork => {
            let slow = Fault::Link(Between::ApiAndRedis(api), LinkFault::Slow(random.between(300, 900)));
            let lasts = 1_500.min(room);
            let kill = Planned { at: at + lasts * 2 / 3, lasts: 0, fault: Fault::Kill(Process::Api(api)) };
            return vec![Planned { at, lasts, fault: slow }, kill];
        }
        Card::KillGateway => (0, Fault::Kill(Process::Gateway(gateway))),
        Card::FreezeApi => (long, Fault::Freeze(Process::Api(api))),
        Card::FreezeGateway => (long, Fault::Freeze(Process::Gateway(gateway))),
        Card::TerminateGateway => (0, Fault::Terminate(Process::Gateway(gateway))),
        Card::TerminateApi => (0, Fault::Terminate(Process::Api(api))),
        Card::Redis(Fault::EmptyRedis) => (0, Fault::EmptyRedis),
        Card::Postgres(Fault::CutDatabaseConnections) => (0, Fault::CutDatabaseConnections),
        Card::Redis(fault) | Card::Postgres(fault) => (short, fault),
        Card::Link => (short, any_link(random)),
        Card::SlowDelivery => (
            long / 2,
            Fault::Link(Between::ApisAndGateway(gateway), LinkFault::Slow(random.between(100, 600))),
        ),
        Card::Fcm => (long / 2, Fault::Fcm(any_fcm_fault(random))),
        Card::LoseTarget => (short, Fault::LoseTarget { phone: random.index(phones) }),
    };
    vec![Planned { at, lasts: lasts.min(room), fault }]
}

fn any_link(random: &mut Random) -> Fault {
    let (api, gateway) = (random.index(APIS), random.index(GATEWAYS));
    let between = *random.pick(&[
        Between::ClientsAndGateway(gateway),
        Between::ApisAndGateway(gateway),
        Between::GatewayAndApi(gateway),
        Between::ApiAndPostgres(api),
        Between::ApiAndRedis(api),
        Between::GatewayAndRedis(gateway),
    ]);
    let slow = LinkFault::Slow(random.between(50, 500));
    Fault::Link(between, *random.pick(&[LinkFault::Cut, LinkFault::BlackHole, slow]))
}

fn any_fcm_fault(random: &mut Random) -> FcmFault {
    use FcmFault::*;
    *random.pick(&[TooMany, Internal, Unavailable, Unauthorized, Silence, HangUp])
}

fn collide(one: &Planned, other: &Planned) -> bool {
    if matches!(one.fault, Fault::LoseTarget { .. }) && one.fault == other.fault {
        // A frozen server could carry out the first registration after the second.
        return true;
    }
    let overlap = one.at <= other.at + other.lasts && other.at <= one.at + one.lasts;
    overlap && one.lasts > 0 && other.lasts > 0 && part(&one.fault) == part(&other.fault)
}

/// What a fault holds in its hands while it lasts.
fn part(fault: &Fault) -> String {
    match fault {
        Fault::Kill(process) | Fault::Freeze(process) | Fault::Terminate(process) => format!("{process:?}"),
        Fault::EmptyRedis | Fault::StopRedis | Fault::FreezeRedis => "redis".into(),
        Fault::StopPostgres | Fault::CutDatabaseConnections | Fault::FreezePostgres => "postgres".into(),
        Fault::Link(between, _) => format!("{between:?}"),
        Fault::Fcm(_) => "fcm".into(),
        Fault::LoseTarget { phone } => format!("phone {phone}"),
    }
}

impl Fault {
    /// For how many milliseconds after its end it may still cause a push to somebody who is connected; `None`: it
    /// never does. 6 s: gateways register again within 5 s of an emptied Redis, and a lost lease is as long.
    pub fn lingers(&self) -> Option<Millis> {
        match self {
            Self::Link(Between::ApisAndGateway(_), LinkFault::Slow(_))
            | Self::Fcm(_)
            | Self::LoseTarget { .. } => None,
            _ => Some(6_000),
        }
    }

    /// The word under which it is counted.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kill(Process::Api(_)) => "api-server killed",
            Self::Kill(Process::Gateway(_)) => "gateway killed",
            Self::Freeze(Process::Api(_)) => "api-server frozen",
            Self::Freeze(Process::Gateway(_)) => "gateway frozen",
            Self::Terminate(Process::Api(_)) => "api-server restarted",
            Self::Terminate(Process::Gateway(_)) => "gateway restarted",
            Self::EmptyRedis => "Redis emptied",
            Self::StopRedis => "Redis restarted",
            Self::FreezeRedis => "Redis frozen",
            Self::StopPostgres => "Postgres restarted",
            Self::CutDatabaseConnections => "Postgres connections cut",
            Self::FreezePostgres => "Postgres frozen",
            Self::Link(_, LinkFault::Cut) => "link cut",
            Self::Link(_, LinkFault::BlackHole) => "link silent",
            Self::Link(_, LinkFault::Slow(_)) => "link slow",
            Self::Fcm(_) => "FCM refuses",
            Self::LoseTarget { .. } => "push target gone",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(process) | Self::Freeze(process) | Self::Terminate(process) => {
                let (name, index) = match process {
                    Process::Api(index) => ("api", index),
                    Process::Gateway(index) => ("gateway", index),
                };
                write!(f, "{} ({name}-{index})", self.kind())
            }
            Self::Link(between, how) => write!(f, "{} ({between}, {how:?})", self.kind()),
            Self::Fcm(how) => write!(f, "{} ({how:?})", self.kind()),
            Self::LoseTarget { phone } => write!(f, "{} (phone {phone})", self.kind()),
            _ => f.write_str(self.kind()),
        }
    }
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientsAndGateway(index) => write!(f, "clients → gateway-{index}"),
            Self::ApisAndGateway(index) => write!(f, "api-servers → gateway-{index}"),
            Self::GatewayAndApi(index) => write!(f, "gateway-{index} → api-server"),
            Self::ApiAndPostgres(index) => write!(f, "api-{index} → Postgres"),
            Self::ApiAndRedis(index) => write!(f, "api-{index} → Redis"),
            Self::GatewayAndRedis(index) => write!(f, "gateway-{index} → Redis"),
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7.2} s  {}", self.at as f64 / 1_000.0, self.fault)?;
        if self.lasts > 0 { write!(f, ", {:.1} s", self.lasts as f64 / 1_000.0) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_plan_and_another_makes_another() {
        let phases = Phases::of_seconds(60);
        assert_eq!(plan(7, &phases, 4), plan(7, &phases, 4));
        assert_ne!(plan(7, &phases, 4), plan(8, &phases, 4));
    }

    #[test]
    fn the_three_runs_of_all_tests_have_every_kind_of_fault_between_them() {
        let kinds = |seeds: &[u64], seconds| -> BTreeSet<&str> {
            let plans = seeds.iter().flat_map(|seed| plan(*seed, &Phases::of_seconds(seconds), 4));
            plans.map(|planned| planned.fault.kind()).collect()
        };
        assert_eq!(kinds(&[6, 7, 42], 25), kinds(&[1], 3_600));
    }

    #[test]
    fn all_faults_are_over_when_the_quiet_begins() {
        for (seed, seconds) in (0..200).zip([15, 20, 60, 300].into_iter().cycle()) {
            let phases = Phases::of_seconds(seconds);
            let plan = plan(seed, &phases, 4);
            assert!(plan.len() >= 4, "{plan:#?}");
            assert!(
                plan.iter().all(|planned| planned.at + planned.lasts <= phases.faults_until),
                "{plan:#?}"
            );
        }
    }
}

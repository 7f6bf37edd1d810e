//! `push`: pushes a second, to an FCM that answers at once and to one that takes 50 ms.

use std::time::Duration;

use anyhow::{Context, bail};
use harness::fake_fcm::FakeFcm;
use serde_json::json;
use sqlx::PgPool;
use tokio::time::{Instant, sleep, timeout};

use crate::effort::Effort;
use crate::floors::bare_posts;
use crate::load::http::{HttpConnection, post};
use crate::load::message;
use crate::load::push_target::PushTarget;
use crate::meters::cpu::{Cpu, microseconds_each};
use crate::meters::rate::Rate;
use crate::outcome::{Figure, Outcome, Plot, PlotKind, Series, Unit};
use crate::progress::Progress;
use crate::site::Site;
use crate::site::cluster::{Cluster, ClusterSpec, FcmTarget};
use crate::site::population::Population;

/// One message is so many pushes, less the one to its sender.
const MEMBERS: usize = 101;
/// The default of `--push-in-flight`; the floor has as many.
const IN_FLIGHT: usize = 64;
/// A backlog that is not pushed by then never will be.
const LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at the target.
const LOOK: Duration = Duration::from_millis(5);
/// Points of the plot.
const SAMPLE: Duration = Duration::from_millis(100);

/// How long the FCM takes, and how many messages a run sends, full and small.
struct Case {
    name: &'static str,
    delay: Duration,
    messages: (usize, usize),
}

const CASES: [Case; 2] = [
    Case { name: "0 ms", delay: Duration::ZERO, messages: (200, 10) },
    Case { name: "50 ms", delay: Duration::from_millis(50), messages: (40, 4) },
];

pub async fn run(effort: &Effort) -> anyhow::Result<Outcome> {
    let progress = Progress::of("push", effort.runs * CASES.len());
    let mut outcome = Outcome::new(
        "push",
        "messages to users who have a device and no session: pushes a second from POST to a fake FCM, over HTTP/2",
    );
    let bench = Bench::start(effort).await?;
    // The connection, the access token, statements: as in a server that has run for a while.
    bench.push_all(1).await?;
    for case in &CASES {
        let (mut ours, mut floor, mut cost) = (Vec::new(), Vec::new(), Vec::new());
        let mut plot = None;
        for run in 0..effort.runs {
            progress.step(format!("{}, run {}", case.name, run + 1));
            bench.target.answer_after(case.delay);
            let bare = bench.bare_posts(effort).await?;
            let pushed = bench.push_all(effort.size(case.messages.0, case.messages.1)).await?;
            plot.get_or_insert_with(|| vec![pushed.series.clone(), bare.series("bare POSTs")]);
            ours.push(pushed.per_second);
            cost.push(pushed.cost);
            floor.push(bare.per_second);
        }
        let name = case.name;
        outcome.figures.extend([
            Figure::ratio(format!("pushes, of bare POSTs, FCM takes {name}"), &ours, &floor).at_least(0.6),
            Figure::new(format!("pushes, FCM takes {name}"), Unit::PerSecond, ours),
            Figure::new(format!("bare POSTs, FCM takes {name}"), Unit::PerSecond, floor),
            Figure::new(
                format!("CPU of services, Postgres and Redis for a push, FCM takes {name}"),
                Unit::Microseconds,
                cost,
            ),
        ]);
        outcome.plots.push(Plot {
            title: format!("Pushes, FCM takes {name}"),
            x_label: "seconds".into(),
            y_label: "a second".into(),
            kind: PlotKind::Lines,
            series: plot.unwrap_or_default(),
        });
    }
    outcome.notes.push(format!(
        "A message to a group of {MEMBERS} who are all offline makes {} pushes; timed from the first POST of a message \
         until FCM has answered the last push, so storing, fan-out, the registry, the push jobs and their end in \
         Postgres are all in it. Ours and the floor have {IN_FLIGHT} requests in flight on one HTTP/2 connection and \
         post the same body; the floor does nothing else.",
        MEMBERS - 1
    ));
    outcome.notes.push(
        "Google's quotas are out of the way: --push-device-per-minute=0 --push-device-per-hour=0 \
         --push-project-per-minute=0; messages do not gather: --push-fold-window=0s."
            .into(),
    );
    Ok(outcome)
}

struct Bench {
    target: PushTarget,
    cluster: Cluster,
    site: Site,
    population: Population,
    // Grants the access tokens.
    _oauth: FakeFcm,
}

/// One backlog, sent and pushed.
struct Pushed {
    per_second: f64,
    /// Of one push, in µs.
    cost: f64,
    series: Series,
}

impl Bench {
    async fn start(effort: &Effort) -> anyhow::Result<Self> {
        let target = PushTarget::start()?;
        let oauth = FakeFcm::start();
        let spec = ClusterSpec {
            api_flags: vec![
                format!("--push-in-flight={IN_FLIGHT}"),
                "--push-fold-window=0s".into(),
                "--push-device-per-minute=0".into(),
                "--push-device-per-hour=0".into(),
                "--push-project-per-minute=0".into(),
            ],
            fcm: Some(FcmTarget {
                endpoint: target.endpoint().to_owned(),
                service_account: oauth.service_account_file().display().to_string(),
            }),
            ..ClusterSpec::default()
        };
        let cluster = Cluster::start(&spec).await?;
        let site = cluster.site();
        let most = CASES.iter().map(|case| effort.size(case.messages.0, case.messages.1)).max();
        let population = Population::seed(&site, &cluster.database, most.unwrap_or(1), MEMBERS).await?;
        seed_devices(&cluster.database).await?;
        Ok(Self { target, cluster, site, population, _oauth: oauth })
    }

    async fn bare_posts(&self, effort: &Effort) -> anyhow::Result<Rate> {
        let (url, body) = (self.target.send_url(), self.target.last_body());
        bare_posts::measure(effort, &url, body, IN_FLIGHT).await
    }

    /// Sends one message to each of the first channels and waits for all their pushes. One, so that none fold.
    async fn push_all(&self, messages: usize) -> anyhow::Result<Pushed> {
        let due = (messages * (MEMBERS - 1)) as u64;
        let first = self.target.pushes();
        let pushed = || self.target.pushes() - first;
        let before = Cpu::of(&self.cluster)?;
        let started = Instant::now();
        let sampled = sample(started, due, pushed);
        let all = async { tokio::join!(self.send(messages), sampled) };
        let (sent, points) = timeout(LIMIT, all)
            .await
            .with_context(|| format!("of {due} pushes {} came within {LIMIT:?}", pushed()))?;
        sent?;
        let elapsed = started.elapsed();
        self.until_settled().await?;
        if pushed() > due || self.target.pushes_over_http1() > 0 {
            bail!("{} pushes for {due}, {} over HTTP/1", pushed(), self.target.pushes_over_http1());
        }
        // With what is written after the last answer: no push is without it.
        let used = Cpu::of(&self.cluster)?.since(&before).of_what_is_measured();
        Ok(Pushed {
            per_second: due as f64 / elapsed.as_secs_f64(),
            cost: microseconds_each(used, due),
            series: Series { name: "naru".into(), points },
        })
    }

    async fn send(&self, messages: usize) -> anyhow::Result<()> {
        let mut connection = HttpConnection::open(self.site.api(0)).await?;
        for channel in &self.population.channels[..messages] {
            let body = json!({ "channelId": channel.id, "content": message::content() }).to_string();
            let sender = &self.population.users[channel.members.start];
            let request = post(self.site.api(0), "/send/message", &sender.token, &body)?;
            let answer = connection.exchange(&request).await?;
            if answer.status != 201 {
                bail!("a message was answered {}", answer.status);
            }
        }
        Ok(())
    }

    /// Until no job waits: what is still written would be counted in the next run.
    async fn until_settled(&self) -> anyhow::Result<()> {
        let settled = async {
            loop {
                let waiting: bool =
                    sqlx::query_scalar("SELECT EXISTS (SELECT FROM push_jobs WHERE due_at IS NOT NULL)")
                        .fetch_one(&self.cluster.database)
                        .await?;
                if !waiting {
                    return anyhow::Ok(());
                }
                sleep(SAMPLE).await;
            }
        };
        timeout(LIMIT, settled).await.context("push jobs wait that were pushed")?
    }
}

/// Watches until as many are pushed as are due: seconds, and the rate of each sample.
async fn sample(started: Instant, due: u64, pushed: impl Fn() -> u64) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let (mut last, mut last_at) = (0, started);
    loop {
        let (now, now_at) = (pushed(), Instant::now());
        let is_over = now >= due;
        if is_over || now_at - last_at >= SAMPLE {
            let rate = (now - last) as f64 / (now_at - last_at).as_secs_f64().max(f64::EPSILON);
            points.push(((now_at - started).as_secs_f64(), rate));
            (last, last_at) = (now, now_at);
        }
        if is_over {
            return points;
        }
        sleep(LOOK).await;
    }
}

/// A phone for everybody.
async fn seed_devices(database: &PgPool) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO devices (user_id, device_id, platform, installation_id, created_at, updated_at)
         SELECT user_id, 'phone', 'android', 'fid-' || user_id, now(), now() FROM participants",
    )
    .execute(database)
    .await?;
    sqlx::query("ANALYZE devices").execute(database).await?;
    Ok(())
}

//! Carries out the plan.

use std::time::Duration;

use futures_util::future::join_all;
use harness::fake_fcm::Behaviour;
use sqlx::{Connection, Executor, PgConnection};

use crate::history::{ActiveFault, Millis};
use crate::plan::{Fault, FcmFault, LinkFault, Planned, Process};
use crate::push_targets::{PushTargets, target};
use crate::run_state::Run;
use crate::service::Service;
use crate::site::Site;

/// All faults, each at its time; returns when the last is over and what it stopped runs again.
pub async fn carry_out(run: &Run, site: &Site, targets: &PushTargets, phones: &[usize], plan: &[Planned]) {
    join_all(plan.iter().map(async |planned| {
        run.sleep_until(planned.at).await;
        let index = begin(run, &planned.fault);
        apply(run, site, targets, phones, planned).await;
        run.history().faults[index].until = Some(run.now());
    }))
    .await;
}

/// Kills gateways in turn until it is dropped.
pub async fn churn(run: &Run, site: &Site, every: Duration) {
    for gateway in (0..site.gateways.len()).cycle() {
        tokio::time::sleep(every).await;
        let fault = Fault::Kill(Process::Gateway(gateway));
        let index = begin(run, &fault);
        site.gateways[gateway].signal("KILL");
        run.history().faults[index].until = Some(run.now());
    }
}

fn begin(run: &Run, fault: &Fault) -> usize {
    let from = run.now();
    let mut history = run.history();
    history.faults.push(ActiveFault { what: fault.to_string(), from, until: None, lingers: fault.lingers() });
    history.faults.len() - 1
}

async fn apply(run: &Run, site: &Site, targets: &PushTargets, phones: &[usize], planned: &Planned) {
    let over: Millis = planned.at + planned.lasts;
    match planned.fault {
        Fault::Kill(process) => service(site, process).signal("KILL"),
        Fault::Terminate(process) => service(site, process).signal("TERM"),
        Fault::Freeze(process) => {
            service(site, process).signal("STOP");
            run.sleep_until(over).await;
            service(site, process).signal("CONT");
        }
        Fault::EmptyRedis => {
            // It may just be frozen or stopped: then this fault is nothing.
            let url = site.redis.url();
            let _ = tokio::time::timeout(Duration::from_secs(1), empty(&url)).await;
        }
        Fault::StopRedis => {
            site.redis.stop();
            run.sleep_until(over).await;
            site.redis.start_empty().await;
        }
        Fault::FreezeRedis => {
            site.redis.pause();
            run.sleep_until(over).await;
            site.redis.resume();
        }
        Fault::StopPostgres => {
            site.postgres.stop();
            run.sleep_until(over).await;
            site.postgres.start().await;
        }
        Fault::FreezePostgres => {
            site.postgres.pause();
            run.sleep_until(over).await;
            site.postgres.resume();
        }
        Fault::CutDatabaseConnections => {
            let _ = tokio::time::timeout(Duration::from_secs(1), cut_connections(&site.database_url)).await;
        }
        Fault::Link(between, how) => {
            let proxy = site.proxy(between);
            match how {
                LinkFault::Cut => proxy.cut().await,
                LinkFault::BlackHole => proxy.black_hole(),
                LinkFault::Slow(millis) => proxy.delay(Duration::from_millis(millis)),
            }
            run.sleep_until(over).await;
            proxy.restore().await;
        }
        Fault::Fcm(how) => {
            let all = targets.all();
            if how == FcmFault::Unauthorized {
                site.fcm.revoke_access_tokens();
            }
            all.iter().for_each(|target| site.fcm.respond_to(target, behaviour(how)));
            run.sleep_until(over).await;
            all.iter().for_each(|target| site.fcm.respond_to(target, Behaviour::Sent));
            site.fcm.release();
        }
        Fault::LoseTarget { phone } => lose_target(run, site, targets, phones[phone], over).await,
    }
}

async fn lose_target(run: &Run, site: &Site, targets: &PushTargets, device: usize, over: Millis) {
    let (old, generation) = {
        let mut history = run.history();
        // Nothing is due before the new target is registered.
        history.devices[device].reregistered = Some(Millis::MAX);
        let name = &history.devices[device].name;
        let known = targets.all();
        let generation = known.iter().filter(|target| target.starts_with(&format!("{name}-"))).count();
        (target(name, generation - 1), generation)
    };
    site.fcm.respond_to(&old, Behaviour::Unregistered);
    run.sleep_until(over).await;
    targets.register(run, &mut run.random(&old), device, generation).await;
    let now = run.now();
    run.history().devices[device].reregistered = Some(now);
}

fn behaviour(fault: FcmFault) -> Behaviour {
    match fault {
        FcmFault::TooMany => Behaviour::QuotaExceeded { retry_after: Some("2".into()) },
        FcmFault::Internal => Behaviour::Internal,
        FcmFault::Unavailable => Behaviour::Unavailable { retry_after: Some("1".into()) },
        FcmFault::Unauthorized => Behaviour::Unauthorized,
        FcmFault::Silence => Behaviour::Hold,
        FcmFault::HangUp => Behaviour::DropConnection,
    }
}

fn service(site: &Site, process: Process) -> &Service {
    match process {
        Process::Api(index) => &site.apis[index],
        Process::Gateway(index) => &site.gateways[index],
    }
}

async fn empty(url: &str) -> Option<()> {
    use deadpool_redis::redis::{Client, cmd};
    let mut connection = Client::open(url).ok()?.get_multiplexed_async_connection().await.ok()?;
    cmd("FLUSHALL").query_async(&mut connection).await.ok()
}

async fn cut_connections(url: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    connection.execute(others).await?;
    connection.close().await
}

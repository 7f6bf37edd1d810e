//! Sends per second of both stores, by hand:
//! `cargo test --release -p tests --test behaviour -- --ignored --nocapture store_conformance::throughput`

use std::time::{Duration, Instant};

use api_server::store::OutboxId;

use super::{AnyStore, draft, group};

const SENDERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const MEASURED: Duration = Duration::from_secs(3);

/// Messages of 120 bytes with `clientMessageId`s through one appender, over `channels` groups.
async fn measure(name: &str, store: &AnyStore, batch_size: usize, channels: usize) {
    let mut groups = Vec::new();
    for _ in 0..channels {
        groups.push(group(store, &SENDERS).await);
    }
    let mut appender = store.appender();
    let (mut sent, mut longest, started) = (0, Duration::ZERO, Instant::now());
    while started.elapsed() < MEASURED {
        let batch: Vec<_> = (sent..sent + batch_size)
            .map(|n| {
                let sender = SENDERS[n / channels % SENDERS.len()];
                draft(groups[n % channels], sender, &"x".repeat(120), Some(&format!("c-{n}")))
            })
            .collect();
        let batch_started = Instant::now();
        appender.append(OutboxId::generate(), &batch.iter().collect::<Vec<_>>()).await.unwrap();
        longest = longest.max(batch_started.elapsed());
        sent += batch_size;
    }
    let per_second = sent as f64 / started.elapsed().as_secs_f64();
    let longest_ms = longest.as_millis();
    println!(
        "{name}: batches of {batch_size:>3}, {channels:>3} channels: {per_second:>8.0}/s, longest {longest_ms} ms"
    );
}

async fn measure_all(name: &str, store: AnyStore) {
    for channels in [1, 64] {
        for batch_size in [1, 64, 256] {
            measure(name, &store, batch_size, channels).await;
        }
    }
}

#[tokio::test]
#[ignore = "takes half a minute and asserts nothing"]
async fn sends_per_second() {
    let (store, _folder) = super::sqlite().await;
    measure_all("sqlite", store).await;
    // NARU_MEASURE_POSTGRES names a server with fsync on; the harness's own has it off.
    if let Ok(url) = std::env::var("NARU_MEASURE_POSTGRES") {
        api_server::store::migrate(&url).await.unwrap();
        let store = api_server::store::Postgres::new(&url, 8).unwrap();
        measure_all("postgres", std::sync::Arc::new(store)).await;
    }
    measure_all("postgres without fsync", super::postgres().await).await;
}

//! What it takes to group an entry's recipients by gateway.

use api_server::delivery::micro::FanOut;
use chrono::Utc;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shared_types::{Entry, EntryBody, GatewayId, UserId};
use uuid::Uuid;

fn fanout_planning(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    for recipients in [2_usize, 10, 100, 1_000] {
        group.throughput(Throughput::Elements(recipients as u64));
        for gateways in [0, 1, 4] {
            let Some(fan_out) = fan_out(recipients, gateways) else { continue };
            let id = BenchmarkId::new(format!("{gateways} gateways"), recipients);
            group.bench_with_input(id, &fan_out, |bencher, fan_out| bencher.iter(|| fan_out.plan()));
        }
    }
    group.finish();
}

fn fan_out(recipients: usize, gateways: usize) -> Option<FanOut> {
    let users: Vec<UserId> =
        (0..recipients).filter_map(|user| format!("user-{user:07}").parse().ok()).collect();
    let gateways: Vec<GatewayId> =
        (0..gateways).filter_map(|_| Uuid::now_v7().to_string().parse().ok()).collect();
    let entry = Entry {
        id: Uuid::now_v7().to_string().parse().ok()?,
        channel_id: Uuid::now_v7().to_string().parse().ok()?,
        seq: 42,
        sender_id: users.first()?.clone(),
        created_at: Utc::now().into(),
        body: EntryBody::MemberJoined { user_ids: Vec::new() },
    };
    FanOut::new(&entry, users, &gateways)
}

criterion_group!(benches, fanout_planning);
criterion_main!(benches);

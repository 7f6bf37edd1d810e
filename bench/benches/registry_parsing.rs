//! What it takes to read which gateways a user is on, as the session registry says it.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shared_types::registry_keys::parse_user_entry;
use uuid::Uuid;

fn registry_parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("user entry");
    for gateways in [0_u64, 1, 2, 8] {
        let ids: Vec<String> = (0..gateways).map(|_| Uuid::now_v7().to_string()).collect();
        let entry = ids.join(",");
        group.throughput(Throughput::Elements(gateways.max(1)));
        group.bench_with_input(BenchmarkId::from_parameter(gateways), &entry, |bencher, entry| {
            bencher.iter(|| parse_user_entry(black_box(entry)).count());
        });
    }
    group.finish();
}

criterion_group!(benches, registry_parsing);
criterion_main!(benches);

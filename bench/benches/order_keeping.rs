//! What it takes a session to keep its channels' entries in order.

use chat_gateway::micro::{Sequence, SharedFrame};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use uuid::Uuid;

/// Of each measurement, so that beginnings do not weigh.
const FRAMES: usize = 1_000;
/// Those of a session that is not behind.
const MAX_HELD_FRAMES: usize = 1_024;

fn order_keeping(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("order");
    group.throughput(Throughput::Elements(FRAMES as u64));
    let swapped = |frames: Vec<SharedFrame>| -> Vec<SharedFrame> {
        frames.chunks(2).flat_map(|pair| pair.iter().rev().cloned()).collect()
    };
    let reversed = |mut frames: Vec<SharedFrame>| {
        // The first tells where the channel begins.
        frames[1..].reverse();
        frames
    };
    for (name, frames) in [
        ("one channel, in order", frames(1)),
        ("100 channels, in order", frames(100)),
        ("one channel, each two swapped", swapped(frames(1))),
        ("one channel, backwards", reversed(frames(1))),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || (Sequence::new(MAX_HELD_FRAMES), frames.clone()),
                |(mut sequence, frames)| {
                    let written: usize = frames.into_iter().map(|frame| sequence.offer(frame)).sum();
                    assert_eq!(written, FRAMES, "everything has its turn");
                    sequence
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Entries of so many channels in turn, each channel's from 1 on.
fn frames(channels: usize) -> Vec<SharedFrame> {
    let ids: Vec<Uuid> = (0..channels).map(|_| Uuid::now_v7()).collect();
    let json = |index: usize| {
        format!(
            r#"{{"type":"message","channelId":"{}","seq":{}}}"#,
            ids[index % channels],
            index / channels + 1
        )
    };
    (0..FRAMES).filter_map(|index| SharedFrame::from_api(&json(index))).collect()
}

criterion_group!(benches, order_keeping);
criterion_main!(benches);

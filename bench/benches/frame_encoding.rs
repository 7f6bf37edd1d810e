//! What it takes to make an entry's JSON in an api-server, and a frame of it in a gateway: once, for all recipients.

use std::hint::black_box;

use chat_gateway::micro::SharedFrame;
use chrono::Utc;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;
use shared_types::{Entry, EntryBody};

/// A word, a long sentence, the longest message.
const CONTENT_BYTES: [usize; 3] = [10, 120, 8_000];

fn frame_encoding(criterion: &mut Criterion) {
    for bytes in CONTENT_BYTES {
        let Some(entry) = entry(bytes) else { continue };
        let json = serde_json::to_string(&entry).unwrap_or_default();
        let mut group = criterion.benchmark_group(format!("content of {bytes} bytes"));
        group.throughput(Throughput::Bytes(json.len() as u64));
        group.bench_function("entry to JSON", |bencher| {
            bencher.iter(|| serde_json::to_vec(black_box(&entry)));
        });
        group.bench_function("JSON to frame", |bencher| {
            bencher.iter(|| SharedFrame::from_api(black_box(&json)));
        });
        group.finish();
    }
}

fn entry(content_bytes: usize) -> Option<Entry> {
    let value = json!({
        "id": "0199aaaa-0000-7000-8000-000000000001", "channelId": "0199aaaa-0000-7000-8000-000000000000",
    });
    Some(Entry {
        id: serde_json::from_value(value["id"].clone()).ok()?,
        channel_id: serde_json::from_value(value["channelId"].clone()).ok()?,
        seq: 42,
        sender_id: "alice".parse().ok()?,
        created_at: Utc::now().into(),
        body: EntryBody::Message {
            kind: "text".to_owned(),
            content: "x".repeat(content_bytes),
            metadata: None,
            client_message_id: "m-1".parse().ok(),
        },
    })
}

criterion_group!(benches, frame_encoding);
criterion_main!(benches);

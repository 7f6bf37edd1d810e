//! Pushes through FCM: the real sender against a fake that speaks Google's HTTP.

mod access_tokens;
mod outcomes;
mod payload;
mod secrecy;
mod setup;

use std::time::Duration;

use api_server::push::fcm::{FcmOptions, FcmSender};
use api_server::push::{Push, PushOutcome, PushSender, PushText};
use api_server::store::{DevicePlatform, DeviceTarget};
use harness::fake_fcm::FakeFcm;
use shared_types::{ChannelId, EntryId};

fn options(fake: &FakeFcm) -> FcmOptions {
    FcmOptions::new(fake.service_account_file(), fake.endpoint().parse().unwrap())
}

fn sender(fake: &FakeFcm) -> FcmSender {
    FcmSender::new(&options(fake)).unwrap()
}

/// A sender that gives up soon, for answers that never come.
fn impatient_sender(fake: &FakeFcm) -> FcmSender {
    FcmSender::new(&FcmOptions { request_timeout: Duration::from_millis(300), ..options(fake) }).unwrap()
}

/// "hello" from alice to one of bob's devices, by its installation id.
fn push_to(fid: &str) -> Push {
    let alice = "alice".parse().unwrap();
    Push {
        user_id: "bob".parse().unwrap(),
        device_id: "phone".parse().unwrap(),
        platform: DevicePlatform::Android,
        target: DeviceTarget::Installation(fid.to_owned()),
        text: PushText::showing(None, &alice, "hello"),
        channel_id: ChannelId::generate(),
        seq: 7,
        message_id: EntryId::generate(),
        sender_id: alice,
        messages: 2,
        unread: 3,
    }
}

async fn send_to(sender: &FcmSender, fid: &str) -> PushOutcome {
    sender.send(&push_to(fid)).await
}

/// Sends to `phone-0`, `phone-1`, … all at once.
async fn send_many(sender: &FcmSender, count: usize) -> Vec<PushOutcome> {
    let names: Vec<_> = (0..count).map(|n| format!("phone-{n}")).collect();
    futures_util::future::join_all(names.iter().map(|name| send_to(sender, name))).await
}

/// An outcome's kind and its reason's code, as metrics show them.
fn labels(outcome: &PushOutcome) -> (&'static str, &'static str) {
    (outcome.label(), outcome.reason().map_or("", |reason| reason.code))
}

fn wait_asked_for(outcome: &PushOutcome) -> Option<Duration> {
    match outcome {
        PushOutcome::RetryAfter { after, .. } => *after,
        other => panic!("not to be tried again: {other:?}"),
    }
}

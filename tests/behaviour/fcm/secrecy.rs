//! What is never printed: keys, tokens, targets, contents.

use std::io;
use std::sync::{Arc, Mutex};

use harness::fake_fcm::{Behaviour, FakeFcm, TokenBehaviour};
use tracing_subscriber::fmt::MakeWriter;

use super::*;

const TARGET: &str = "s3cret-target";
const CONTENT: &str = "s3cret-content";

fn secret_push() -> Push {
    let alice = "alice".parse().unwrap();
    Push { text: PushText::showing(None, &alice, CONTENT), ..push_to(TARGET) }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn assert_silent(printed: &str) {
    // A JWT's header begins with these letters; so does Google's access token with those.
    for secret in ["s3cret", "ya29.", "eyJ", "PRIVATE KEY", "hello"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

#[tokio::test]
async fn debug_output_of_a_push_and_a_sender_holds_no_secret() {
    let fake = FakeFcm::start();
    let sender = sender(&fake);
    send_to(&sender, "phone").await;
    assert_silent(&format!("{:?} {sender:?} {:?}", secret_push(), options(&fake)));
}

#[tokio::test]
async fn no_outcome_repeats_target_or_content() {
    let fake = FakeFcm::start();
    let sender = impatient_sender(&fake);
    let retry_after = None;
    for behaviour in [
        Behaviour::Sent,
        Behaviour::Unregistered,
        Behaviour::SenderIdMismatch,
        Behaviour::InvalidArgument,
        Behaviour::PayloadTooBig,
        Behaviour::QuotaExceeded { retry_after: retry_after.clone() },
        Behaviour::Unavailable { retry_after },
        Behaviour::Internal,
        Behaviour::BadGatewayHtml,
        Behaviour::ThirdPartyAuthError,
        Behaviour::PermissionDenied,
        Behaviour::NotFound,
        Behaviour::DropConnection,
        Behaviour::Hold,
        Behaviour::Unauthorized,
    ] {
        fake.respond_to(TARGET, behaviour);
        assert_silent(&format!("{:?}", sender.send(&secret_push()).await));
    }
}

#[tokio::test]
async fn nothing_is_logged_that_should_stay_secret_even_at_trace_level() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // With one subscriber only, a log line that another test's thread comes to first is switched off for all.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let fake = FakeFcm::start();
    let sender = sender(&fake);
    sender.send(&secret_push()).await;
    fake.revoke_access_tokens();
    fake.respond_to(TARGET, Behaviour::InvalidArgument);
    sender.send(&secret_push()).await;
    fake.respond_to_token_requests(TokenBehaviour::InvalidGrant);
    fake.revoke_access_tokens();
    sender.send(&secret_push()).await;
    api_server::push::log::LogSender.send(&secret_push()).await;
    let printed = log.text();
    assert!(printed.contains("got an FCM access token") && printed.contains("push logged"), "{printed}");
    assert_silent(&printed);
}

//! Sessions that resume at the same time ask the api-server together.

use std::sync::Arc;
use std::time::Duration;

use shared_types::api_server_api::{MAX_RESUMES, ResumableChannels, ResumeRequest, ResumeSession};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::api_client::ApiClient;

/// Sessions that may wait; a storm of ten thousand comes over more than the second in which these are served.
const MAX_WAITING: usize = 4_096;
/// Channels of all sessions of one request, so that it stays below 1 MB.
const MAX_CHANNELS: usize = 20_000;
/// Longer than an api-server takes to step in for another; a client that waits longer does so without us.
const PATIENCE: Duration = Duration::from_secs(5);

/// The answer comes here; without one the api-servers are away.
pub(crate) type Answer = oneshot::Receiver<ResumableChannels>;

struct Asked {
    session: ResumeSession,
    answer: oneshot::Sender<ResumableChannels>,
}

/// Where sessions ask. The task that serves them ends when this is dropped.
pub(crate) struct Resumes {
    queue: mpsc::Sender<Asked>,
}

impl Resumes {
    pub(crate) fn start(api: Arc<ApiClient>) -> Self {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        tokio::spawn(serve(api, waiting));
        Self { queue }
    }

    /// What there is for a session. `None`: too many wait.
    pub(crate) fn ask(&self, session: ResumeSession) -> Option<Answer> {
        let (answer, receiver) = oneshot::channel();
        self.queue.try_send(Asked { session, answer }).ok()?;
        Some(receiver)
    }
}

/// No timer: while one request is answered, the next sessions gather.
async fn serve(api: Arc<ApiClient>, mut waiting: mpsc::Receiver<Asked>) {
    while let Some(first) = waiting.recv().await {
        let asked = gather(first, &mut waiting);
        let (sessions, answers): (Vec<_>, Vec<_>) =
            asked.into_iter().map(|asked| (asked.session, asked.answer)).unzip();
        match api.resume(&ResumeRequest { sessions }, PATIENCE).await {
            Ok(response) if response.sessions.len() == answers.len() => {
                for (answer, channels) in answers.into_iter().zip(response.sessions) {
                    // Whoever asked may have gone.
                    let _gone = answer.send(channels);
                }
            }
            Ok(_) => warn!(
                gatewayId = %api.gateway_id(),
                "an api-server's answer is not about the sessions that were asked about"
            ),
            // All who wait have waited for the same; they hear now, not one request after another.
            Err(_) => while waiting.try_recv().is_ok() {},
        }
    }
}

/// Everyone who waits and is still there, up to what one request carries.
fn gather(first: Asked, waiting: &mut mpsc::Receiver<Asked>) -> Vec<Asked> {
    let mut channels = first.session.channels.len();
    let mut asked = vec![first];
    while asked.len() < MAX_RESUMES && channels < MAX_CHANNELS {
        let Ok(next) = waiting.try_recv() else { break };
        if !next.answer.is_closed() {
            channels += next.session.channels.len();
            asked.push(next);
        }
    }
    asked
}

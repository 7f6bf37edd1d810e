//! Going away without dropping anyone: told when to reconnect, written to the end, closed in groups.

use std::sync::Arc;
use std::time::Duration;

use shared_types::close_code;
use shared_types::frames::ServerFrame;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::jitter::jitter;
use crate::session::frame::Frame;
use crate::state::Gateway;

/// Closed at once; the clients of all of them come back to other gateways at once.
const GROUP: usize = 128;
const GROUP_PAUSE: Duration = Duration::from_millis(20);
/// How often it is looked whether the last session has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Drains every session by `deadline`. No new one is let in from the first step on; in order:
/// 1. not ready, and the lease says so: no client is sent here;
/// 2. every session is told when to reconnect, spread over `window`, and goes on getting its entries meanwhile;
/// 3. whoever has not left by then is closed with 1012 when its mailbox is written.
pub(crate) async fn drain(gateway: &Gateway, window: Duration, deadline: Instant) {
    gateway.draining.begin();
    gateway.registry.begin_draining();
    let sessions = gateway.hub.sessions();
    info!(gatewayId = %gateway.gateway_id, sessions = sessions.len(), windowMs = millis(window), "draining");
    for session in &sessions {
        let frame = ServerFrame::Draining { reconnect_in_ms: millis(jitter(window)) };
        session.mailbox.notify(Arc::new(Frame::of(&frame)));
    }
    drop(sessions);
    empty_by(gateway, (Instant::now() + window).min(deadline)).await;

    // Again and again, because a session that was being let in when this began may have come late.
    while gateway.hub.session_count() > 0 && Instant::now() < deadline {
        close_all(gateway, deadline).await;
        empty_by(gateway, (Instant::now() + Duration::from_secs(1)).min(deadline)).await;
    }
    match gateway.hub.session_count() {
        0 => info!(gatewayId = %gateway.gateway_id, "drained"),
        sessions => warn!(gatewayId = %gateway.gateway_id, sessions, "not every session ended in time"),
    }
}

async fn close_all(gateway: &Gateway, deadline: Instant) {
    let sessions = gateway.hub.sessions();
    let groups = u32::try_from(sessions.len().div_ceil(GROUP)).unwrap_or(u32::MAX).max(1);
    // However many there are, closing them takes at most half of what is left; the other half is for their goodbyes.
    let pause = GROUP_PAUSE.min(deadline.saturating_duration_since(Instant::now()) / 2 / groups);
    for group in sessions.chunks(GROUP) {
        for session in group {
            session.mailbox.close(close_code::RESTART);
        }
        sleep(pause).await;
    }
}

/// Returns when nobody is here any more, or at `deadline`.
async fn empty_by(gateway: &Gateway, deadline: Instant) {
    while gateway.hub.session_count() > 0 && Instant::now() < deadline {
        sleep_until((Instant::now() + LOOK).min(deadline)).await;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

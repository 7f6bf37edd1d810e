//! What every handler and session of this process shares.

use std::sync::Arc;

use shared_runtime::internal_secret::InternalSecret;
use shared_runtime::ops::Draining;
use shared_runtime::registry::SessionRegistry;
use shared_runtime::tokens::TokenVerifier;
use shared_runtime::traces::Traces;
use shared_types::GatewayId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acks::Acks;
use crate::auth::AllowedOrigins;
use crate::log_reader::LogReader;
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::resumes::Resumes;
use crate::session::hub::Hub;
use crate::session::socket::SocketLimits;

pub(crate) struct Gateway {
    pub(crate) gateway_id: GatewayId,
    pub(crate) hub: Arc<Hub>,
    pub(crate) registry: Registry,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) traces: Traces,
    /// The whole registry, for tickets; `registry` is this gateway's part of it.
    pub(crate) session_registry: Arc<dyn SessionRegistry>,
    pub(crate) log_reader: Arc<LogReader>,
    pub(crate) resumes: Resumes,
    pub(crate) acks: Arc<Acks>,
    pub(crate) verifier: TokenVerifier,
    pub(crate) internal_secret: InternalSecret,
    pub(crate) allowed_origins: AllowedOrigins,
    pub(crate) socket_limits: SocketLimits,
    pub(crate) mailbox_frames: usize,
    /// Every WebSocket until it has said goodbye: the HTTP server knows nothing of them.
    pub(crate) sockets: TaskTracker,
    pub(crate) draining: Draining,
    /// Cancelled by SIGTERM and by `POST /drain`; the drain waits for it.
    pub(crate) drain_requested: CancellationToken,
}

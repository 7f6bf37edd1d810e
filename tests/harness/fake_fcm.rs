//! A fake FCM: speaks Google's HTTP for access tokens and pushes, and answers as it is told to.

mod account;
mod answers;
mod message;
mod server;
mod state;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use serde_json::Value;
use tempfile::TempDir;

use self::account::Account;
use self::state::Shared;
use crate::wait::LIMIT;

pub use self::answers::{Behaviour, TokenBehaviour};
pub use self::state::Seen;

/// The Firebase project that the fake serves.
pub const PROJECT: &str = "naru-fake";

/// How the program differs from the fake of a test.
pub struct FakeFcmOptions {
    pub listen: SocketAddr,
    /// Where the service account is written, with the key that is there already; otherwise a temporary folder.
    pub service_account_out: Option<PathBuf>,
    /// Print each accepted push as a line.
    pub prints_pushes: bool,
    /// How many accepted pushes are kept.
    pub max_kept: usize,
}

/// A running fake. Ends when dropped.
pub struct FakeFcm {
    address: SocketAddr,
    service_account_path: PathBuf,
    _folder: Option<TempDir>,
    shared: Arc<Shared>,
    handle: ServerHandle,
}

impl FakeFcm {
    /// Starts on a free port, inside a tokio runtime. Accepts every well-formed push until told otherwise.
    pub fn start() -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let options =
            FakeFcmOptions { listen, service_account_out: None, prints_pushes: false, max_kept: 100_000 };
        Self::start_with(options).expect("a port is free and the temporary folder can be written")
    }

    pub fn start_with(options: FakeFcmOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen)?;
        let address = listener.local_addr()?;
        let (folder, service_account_path) = match options.service_account_out {
            Some(path) => (None, path),
            None => {
                let folder = TempDir::new()?;
                let path = folder.path().join("service-account.json");
                (Some(folder), path)
            }
        };
        let account =
            Account::new(&service_account_path, folder.is_some(), format!("http://{address}/token"))?;
        let shared = Arc::new(Shared::new(account, options.prints_pushes, options.max_kept));
        let handle = server::start(listener, Arc::clone(&shared))?;
        Ok(Self { address, service_account_path, _folder: folder, shared, handle })
    }

    /// Ends it in good order, unlike dropping it.
    pub async fn stop(self) {
        self.handle.stop(true).await;
    }

    /// As NARU_FCM_ENDPOINT takes it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// As NARU_FCM_SERVICE_ACCOUNT takes it.
    pub fn service_account_file(&self) -> &Path {
        &self.service_account_path
    }

    /// From now on, pushes to this installation id or registration token are answered so.
    pub fn respond_to(&self, target: &str, behaviour: Behaviour) {
        self.shared.inner().standing.insert(target.to_owned(), behaviour);
    }

    /// The next push to this target is answered so; several of these are used up in order, before what stands.
    pub fn respond_once(&self, target: &str, behaviour: Behaviour) {
        self.shared.inner().once.entry(target.to_owned()).or_default().push_back(behaviour);
    }

    /// From now on, requests for access tokens are answered so.
    pub fn respond_to_token_requests(&self, behaviour: TokenBehaviour) {
        self.shared.inner().token_behaviour = behaviour;
    }

    /// How long the access tokens granted from now on are good for; an hour unless told otherwise.
    pub fn grant_tokens_for(&self, lifetime: Duration) {
        self.shared.inner().token_lifetime = lifetime;
    }

    /// Refuses all access tokens granted so far with a plain 401.
    pub fn revoke_access_tokens(&self) {
        self.shared.inner().access_tokens.clear();
    }

    /// Lets everything go on that [`Behaviour::Hold`] or [`TokenBehaviour::Hold`] holds at this moment.
    pub fn release(&self) {
        self.shared.release();
    }

    /// What has been seen so far.
    pub fn seen(&self) -> Seen {
        self.shared.inner().seen.clone()
    }

    /// The accepted pushes in order: of each the `message` object.
    pub fn accepted(&self) -> Vec<Value> {
        self.seen().accepted.into()
    }

    /// The accepted pushes since the last call, in order; they are kept no longer.
    pub fn take_accepted(&self) -> Vec<Value> {
        std::mem::take(&mut self.shared.inner().seen.accepted).into()
    }

    /// The accepted pushes to one target.
    pub fn accepted_by(&self, target: &str) -> Vec<Value> {
        let mut accepted = self.accepted();
        accepted.retain(|message| message::target(message) == Some(target));
        accepted
    }

    /// How often an access token was asked for.
    pub fn token_requests(&self) -> usize {
        self.shared.inner().seen.token_requests
    }

    /// Waits until at least `count` pushes have been accepted, and returns all.
    pub async fn wait_for_pushes(&self, count: usize) -> Vec<Value> {
        self.wait_until(|seen| seen.accepted.len() >= count).await.accepted.into()
    }

    /// Waits until what has been seen satisfies `is_enough`; panics with what there was instead after the limit.
    pub async fn wait_until(&self, is_enough: impl Fn(&Seen) -> bool) -> Seen {
        match tokio::time::timeout(LIMIT, self.shared.until(is_enough)).await {
            Ok(seen) => seen,
            Err(_) => panic!("not within {LIMIT:?}; the fake FCM has seen {:#?}", self.seen()),
        }
    }
}

impl Drop for FakeFcm {
    fn drop(&mut self) {
        self.shared.release();
        // The order to stop is given by the call; awaiting it would only tell when it is done.
        drop(self.handle.stop(false));
    }
}

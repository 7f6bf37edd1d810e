//! An api-server of a test's own, as a gateway sees it: logs in memory, and faults at will.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use harness::runtime::background;
use serde_json::{Value, json};
use shared_types::ChannelId;
use shared_types::api_server_api::{Ack, AckRequest, MAX_NEW_CHANNELS, ResumeRequest};
use tokio::sync::watch;

/// Everyone is in every channel, unless it is private. Ends when dropped.
pub struct FakeApi {
    pub url: String,
    shared: Arc<Shared>,
    handle: ServerHandle,
}

struct Shared {
    inner: Mutex<Inner>,
    /// Calls are answered while this says so.
    is_open: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    /// The last `seq` of each channel.
    logs: HashMap<ChannelId, i64>,
    private: Vec<ChannelId>,
    /// Up to where nothing is kept any more.
    removed: HashMap<ChannelId, i64>,
    /// With which entry everyone joined; those that are not here everyone was in from the beginning.
    joined: HashMap<ChannelId, i64>,
    is_broken: bool,
    acks: Vec<Ack>,
    ack_requests: usize,
    reads: usize,
    resumes: Vec<usize>,
}

impl FakeApi {
    pub async fn start() -> Self {
        let shared = Arc::new(Shared { inner: Mutex::default(), is_open: watch::Sender::new(true) });
        let data = web::Data::from(shared.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .app_data(web::JsonConfig::default().limit(16 * 1024 * 1024))
                .route("/internal/acks", web::post().to(acks))
                .route("/internal/resume", web::post().to(resume))
                .route("/internal/channels/{channel}/entries", web::get().to(entries))
        });
        let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).expect("a port is free");
        let url = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        background().spawn(server);
        Self { url, shared, handle }
    }

    /// The option with which a gateway finds it.
    pub fn option(&self) -> String {
        format!("--api-url={}", self.url)
    }

    /// A channel whose log has the entries 1 to `last`.
    pub fn channel(&self, last: i64) -> ChannelId {
        let channel = ChannelId::generate();
        self.grow(channel, last);
        channel
    }

    /// A channel that nobody is in.
    pub fn private_channel(&self, last: i64) -> ChannelId {
        let channel = self.channel(last);
        self.inner().private.push(channel);
        channel
    }

    /// A channel whose log has the entries 1 to `last`, and that everyone joined with entry `joined`.
    pub fn joined_channel(&self, joined: i64, last: i64) -> ChannelId {
        let channel = self.channel(last);
        self.inner().joined.insert(channel, joined);
        channel
    }

    /// From now on the channel's log ends there.
    pub fn grow(&self, channel: ChannelId, last: i64) {
        self.inner().logs.insert(channel, last);
    }

    /// From now on nothing of the channel is kept up to `seq`.
    pub fn remove(&self, channel: ChannelId, seq: i64) {
        self.inner().removed.insert(channel, seq);
    }

    /// From now on every call is answered with 503; `false` ends that.
    pub fn set_broken(&self, is_broken: bool) {
        self.inner().is_broken = is_broken;
    }

    /// Calls are kept waiting until [`FakeApi::answer`].
    pub fn hold(&self) {
        self.shared.is_open.send_replace(false);
    }

    pub fn answer(&self) {
        self.shared.is_open.send_replace(true);
    }

    /// Pages that were asked for.
    pub fn reads(&self) -> usize {
        self.inner().reads
    }

    /// How many sessions each resume request was about.
    pub fn resumes(&self) -> Vec<usize> {
        self.inner().resumes.clone()
    }

    /// The acks of all requests, and how many those were.
    pub fn acks(&self) -> (Vec<Ack>, usize) {
        let inner = self.inner();
        (inner.acks.clone(), inner.ack_requests)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap()
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        // The command is sent at once; only its effect would have to be awaited.
        drop(self.handle.stop(false));
    }
}

/// An entry as an api-server writes it.
pub fn entry_of(channel: ChannelId, seq: i64) -> Value {
    json!({
        "type": "message", "channelId": channel, "seq": seq,
        "senderId": "sender", "content": format!("message {seq}")
    })
}

impl Shared {
    /// Waits until calls are answered. An error is the answer of an api-server in trouble.
    async fn admit(&self) -> Result<MutexGuard<'_, Inner>, HttpResponse> {
        let mut is_open = self.is_open.subscribe();
        is_open.wait_for(|is_open| *is_open).await.expect("it is open or closed as long as we live");
        let inner = self.inner.lock().unwrap();
        if inner.is_broken { Err(HttpResponse::ServiceUnavailable().finish()) } else { Ok(inner) }
    }
}

async fn acks(shared: web::Data<Shared>, body: web::Json<AckRequest>) -> HttpResponse {
    let mut inner = match shared.admit().await {
        Ok(inner) => inner,
        Err(trouble) => return trouble,
    };
    inner.ack_requests += 1;
    inner.acks.extend(body.into_inner().acks);
    HttpResponse::NoContent().finish()
}

async fn resume(shared: web::Data<Shared>, body: web::Json<ResumeRequest>) -> HttpResponse {
    // Counted when it comes, not when it is answered.
    shared.inner.lock().unwrap().resumes.push(body.sessions.len());
    let inner = match shared.admit().await {
        Ok(inner) => inner,
        Err(trouble) => return trouble,
    };
    let sessions = body.sessions.iter().map(|session| {
        let mine = inner.logs.iter().filter(|(channel, _)| !inner.private.contains(channel));
        let (named, new): (Vec<_>, Vec<_>) =
            mine.partition(|(channel, _)| session.channels.contains(channel));
        let joined = |channel: &ChannelId| inner.joined.get(channel).copied().unwrap_or(0);
        let named = named
            .into_iter()
            .map(|(channel, last)| (*channel, json!({"lastSeq": last, "joinedSeq": joined(channel)})));
        let new = new.into_iter().map(
            |(channel, last)| json!({"channelId": channel, "lastSeq": last, "joinedSeq": joined(channel)}),
        );
        let new: Vec<Value> = new.take(MAX_NEW_CHANNELS).collect();
        json!({"channels": named.collect::<HashMap<_, _>>(), "newChannels": new})
    });
    HttpResponse::Ok().json(json!({"sessions": sessions.collect::<Vec<_>>()}))
}

async fn entries(
    shared: web::Data<Shared>,
    channel: web::Path<ChannelId>,
    query: web::Query<HashMap<String, i64>>,
) -> HttpResponse {
    let mut inner = match shared.admit().await {
        Ok(inner) => inner,
        Err(trouble) => return trouble,
    };
    inner.reads += 1;
    let last = inner.logs.get(&channel).copied().unwrap_or(0);
    let removed = inner.removed.get(&channel).copied().unwrap_or(0);
    let after = removed.max(query["afterSeq"]);
    let upto = last.min(after + query["limit"]);
    let entries: Vec<Value> = (after + 1..=upto).map(|seq| entry_of(*channel, seq)).collect();
    HttpResponse::Ok().json(json!({"entries": entries, "hasMore": upto < last, "removedSeq": removed}))
}

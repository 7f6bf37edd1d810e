//! An identity provider's key set: a small HTTP server whose keys can be rotated.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey};

use crate::keys;
use crate::runtime::background;
use crate::tokens::Token;

/// Serves the public halves of its keys; signs with the private ones. Ends when dropped.
pub struct JwksServer {
    url: String,
    shared: Arc<Shared>,
    handle: ServerHandle,
}

#[derive(Default)]
struct Shared {
    keys: Mutex<Vec<Key>>,
    keys_made: AtomicUsize,
    requests: AtomicUsize,
    is_broken: AtomicBool,
}

struct Key {
    algorithm: Algorithm,
    id: String,
    private: EncodingKey,
}

impl JwksServer {
    /// Starts with one key for each of RS256, ES256 and EdDSA.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let data = web::Data::from(Arc::clone(&shared));
        let server =
            HttpServer::new(move || App::new().app_data(data.clone()).default_service(web::to(key_set)))
                .workers(1)
                .disable_signals()
                .bind(("127.0.0.1", 0))
                .expect("a port is free");
        let url = format!("http://{}/keys.json", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        background().spawn(server);
        let jwks = Self { url, shared, handle };
        for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
            jwks.rotate(algorithm);
        }
        jwks
    }

    /// As NARU_JWT_JWKS_URL takes it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How often the keys have been asked for.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// From now on answers 503; `false` ends that.
    pub fn set_broken(&self, is_broken: bool) {
        self.shared.is_broken.store(is_broken, Ordering::Relaxed);
    }

    /// Replaces the key of this algorithm by a new one with a new id.
    pub fn rotate(&self, algorithm: Algorithm) {
        let id = format!("key-{}", self.shared.keys_made.fetch_add(1, Ordering::Relaxed));
        let key = Key { algorithm, id, private: keys::generate(algorithm) };
        let mut keys = self.shared.keys();
        keys.retain(|old| old.algorithm != algorithm);
        keys.push(key);
    }

    /// Signs with the present key of this algorithm.
    pub fn sign(&self, algorithm: Algorithm, token: Token) -> String {
        let keys = self.shared.keys();
        let key = keys.iter().find(|key| key.algorithm == algorithm).expect("a key for the algorithm");
        token.key(algorithm, &key.id, key.private.clone()).sign()
    }
}

impl Drop for JwksServer {
    fn drop(&mut self) {
        // The command is sent at once; only its effect would have to be awaited.
        drop(self.handle.stop(false));
    }
}

impl Shared {
    fn keys(&self) -> MutexGuard<'_, Vec<Key>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn key_set(shared: web::Data<Shared>) -> HttpResponse {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    if shared.is_broken.load(Ordering::Relaxed) {
        return HttpResponse::ServiceUnavailable().finish();
    }
    let public = |key: &Key| {
        let mut public = Jwk::from_encoding_key(&key.private, key.algorithm).expect("the key is valid");
        public.common.key_id = Some(key.id.clone());
        public
    };
    HttpResponse::Ok().json(JwkSet { keys: shared.keys().iter().map(public).collect() })
}

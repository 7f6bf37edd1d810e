//! A session registry of a test's own, kept where the edition under test keeps it.

use std::sync::Arc;

use clap::Parser;
use shared_runtime::redis::RedisOptions;
use shared_runtime::registry::{InProcessRegistry, RedisRegistry, SessionRegistry};

use crate::edition::Edition;
use crate::redis::Redis;

/// One deployment's sessions: no other test sees them.
pub enum TestRegistry {
    /// What every key begins with, in the Redis at this URL.
    Redis {
        url: String,
        prefix: String,
    },
    InProcess(Arc<InProcessRegistry>),
}

impl TestRegistry {
    pub async fn fresh() -> Self {
        match Edition::under_test() {
            Edition::Services => Self::in_redis(Redis::shared().await),
            Edition::Embedded => Self::InProcess(Arc::default()),
        }
    }

    /// A corner of this server.
    pub fn in_redis(redis: &Redis) -> Self {
        Self::at(redis.url(), redis.fresh_prefix())
    }

    /// A corner of whatever is behind this URL.
    pub fn at(url: String, prefix: String) -> Self {
        Self::Redis { url, prefix }
    }

    /// The services' own view of it. A new one for each look: connections end with the runtime that made them.
    pub fn open(&self) -> Arc<dyn SessionRegistry> {
        match self {
            Self::Redis { url, prefix } => Arc::new(redis_registry(url, prefix)),
            Self::InProcess(registry) => registry.clone(),
        }
    }

    /// The URL and the prefix; fails in the embedded edition.
    pub fn redis(&self) -> (&str, &str) {
        match self {
            Self::Redis { url, prefix } => (url, prefix),
            Self::InProcess(_) => {
                Edition::need_services("a look into Redis");
                unreachable!("services keep sessions in Redis")
            }
        }
    }
}

fn redis_registry(url: &str, prefix: &str) -> RedisRegistry {
    #[derive(Parser)]
    struct Options {
        #[command(flatten)]
        redis: RedisOptions,
    }
    let options = Options::try_parse_from(["test".to_owned(), format!("--redis-url={url}")]);
    let options = options.unwrap_or_else(|e| panic!("{e}"));
    RedisRegistry::new(options.redis.client().expect("the URL of a Redis"), prefix)
}

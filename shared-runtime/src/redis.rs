//! Redis, one server or a cluster, through a few multiplexed connections that every task shares.

mod cluster;
mod node;
mod slots;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use deadpool_redis::PoolError;
use deadpool_redis::redis::{Cmd, ConnectionInfo, IntoConnectionInfo, RedisError, ToRedisArgs, Value, cmd};
use tokio::runtime::Handle;

use self::cluster::Cluster;
use self::node::Node;
use crate::secret::{OptionError, Secret, secret_from};

/// A healthy Redis answers in well under a millisecond; whoever waits longer should do without it.
const RESPONSE_LIMIT: Duration = Duration::from_secs(1);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Keys of one MGET; more go into the same round trip as further commands.
const KEYS_PER_COMMAND: usize = 10_000;
/// What a key takes in a command, more or less: room for it is made at once.
const KEY_BYTES: usize = 32;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Redis")]
pub struct RedisOptions {
    /// Redis, e.g. redis://127.0.0.1:6379/0, or rediss://… for TLS. Several, comma-separated, are nodes of one Redis
    /// Cluster: the others are found through them, with the user and password of the first. A cluster that has only
    /// one address is named by giving that twice
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<Secret>,
    /// File to read it from instead
    #[arg(long, env = "REDIS_URL_FILE", value_name = "PATH")]
    redis_url_file: Option<PathBuf>,
    /// What every key begins with; deployments that share a Redis need different ones
    #[arg(long, env = "NARU_REDIS_PREFIX", default_value = "naru", value_name = "WORD")]
    redis_prefix: String,
}

impl RedisOptions {
    pub fn prefix(&self) -> &str {
        &self.redis_prefix
    }

    /// A client for the Redis that is named. Connects when it is first used.
    pub fn client(&self) -> Result<Redis, OptionError> {
        let invalid = |rule: String| OptionError::Invalid { name: "REDIS_URL", rule };
        let url = secret_from("REDIS_URL", self.redis_url.as_ref(), self.redis_url_file.as_deref())?;
        let url = url.ok_or(OptionError::Missing { name: "REDIS_URL", flag: "--redis-url" })?;
        // The URL may hold a password, so the parser's own message is not shown.
        let nodes = url.expose().split(',').map(|node| node.trim().into_connection_info());
        let nodes: Vec<ConnectionInfo> = nodes
            .collect::<Result<_, _>>()
            .map_err(|_| invalid("must look like redis://[user:password@]host:port/[database]".into()))?;
        match <[ConnectionInfo; 1]>::try_from(nodes) {
            Ok([info]) => Node::new(info, Handle::current())
                .map(Redis::Node)
                .map_err(|error| invalid(error.to_string())),
            Err(nodes) => Cluster::new(&nodes).map(Redis::Cluster).map_err(|rule| invalid(rule.into())),
        }
    }
}

/// Why a question to Redis has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RedisUnavailable {
    #[error("no connection to Redis")]
    Connect(#[source] PoolError),
    #[error("Redis did not answer")]
    Command(#[source] RedisError),
    #[error("the Redis Cluster has nobody for these keys")]
    Uncovered,
    #[error("this process is stopping")]
    Stopping,
}

/// Where the commands go. Each names one key, as its first argument or as the only one of a script.
#[derive(Clone)]
pub enum Redis {
    Node(Node),
    Cluster(Cluster),
}

impl Redis {
    /// Runs all commands in one round trip; of a cluster, in one to each node that has a key of theirs, at the same
    /// time. Their answers come in the commands' order. A connection that has died is replaced and an owner that has
    /// changed is looked up; so every command given here must bear being run twice.
    pub async fn run(&self, commands: Vec<Cmd>) -> Result<Vec<Value>, RedisUnavailable> {
        match self {
            Self::Node(node) => node.run(commands).await,
            Self::Cluster(cluster) => cluster.run(commands).await,
        }
    }

    /// What lies at each of these keys, in their order; in one round trip, as [`Redis::run`] has it.
    pub async fn values(
        &self,
        keys: impl ExactSizeIterator<Item = impl ToRedisArgs>,
    ) -> Result<Vec<Value>, RedisUnavailable> {
        match self {
            Self::Node(node) => {
                let answers = node.run(mgets(keys)).await?;
                Ok(flatten(answers))
            }
            // The keys of an MGET would have to be of one slot.
            Self::Cluster(cluster) => cluster.run(keys.map(get).collect()).await,
        }
    }

    /// One id for each server that holds keys, new with each of its starts. A cluster's are asked who holds what anew.
    pub async fn servers(&self) -> Result<Vec<String>, RedisUnavailable> {
        let mut info = cmd("INFO");
        info.arg("server");
        let answers = match self {
            Self::Node(node) => node.run(vec![info]).await?,
            Self::Cluster(cluster) => cluster.ask_all(&info).await?,
        };
        Ok(answers.iter().filter_map(run_id).collect())
    }

    /// Whether Redis answers: every server that holds keys.
    pub async fn ping(&self) -> Result<(), RedisUnavailable> {
        match self {
            Self::Node(node) => node.run(vec![cmd("PING")]).await.map(drop),
            Self::Cluster(cluster) => cluster.ask_all(&cmd("PING")).await.map(drop),
        }
    }
}

fn mgets(mut keys: impl ExactSizeIterator<Item = impl ToRedisArgs>) -> Vec<Cmd> {
    let mut commands = Vec::with_capacity(keys.len().div_ceil(KEYS_PER_COMMAND));
    while keys.len() > 0 {
        let count = keys.len().min(KEYS_PER_COMMAND);
        let mut command = Cmd::with_capacity(count + 1, count * KEY_BYTES);
        command.arg("MGET");
        for key in keys.by_ref().take(count) {
            command.arg(key);
        }
        commands.push(command);
    }
    commands
}

/// The answers to several MGETs as one; to one, which is the rule, as it came.
fn flatten(answers: Vec<Value>) -> Vec<Value> {
    let mut answers = answers.into_iter().map(|answer| answer.into_sequence().unwrap_or_default());
    let mut values = answers.next().unwrap_or_default();
    values.extend(answers.flatten());
    values
}

fn get(key: impl ToRedisArgs) -> Cmd {
    let mut command = Cmd::with_capacity(2, KEY_BYTES);
    command.arg("GET").arg(key);
    command
}

fn run_id(info: &Value) -> Option<String> {
    let text = match info {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?,
        Value::VerbatimString { text, .. } => text,
        _ => return None,
    };
    text.lines().find_map(|line| line.strip_prefix("run_id:")).map(str::to_owned)
}

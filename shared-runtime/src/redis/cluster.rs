//! A Redis Cluster: each command goes to the node that holds its key's slot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use deadpool_redis::redis::{
    Arg, Cmd, ConnectionAddr, ConnectionInfo, Pipeline, ServerError, ServerErrorKind, Value, cmd,
};
use futures_util::future::{join_all, select_ok};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::node::{Node, pipeline_of};
use super::slots::{Range, parse_ranges, redirected_to, slot_of};
use super::{CONNECT_LIMIT, RESPONSE_LIMIT, RedisUnavailable};

/// A slot may have moved, and move again while its new owner is asked; more often than this is no accident.
const MAX_TURNS: usize = 5;

/// One connects, asks, and is answered; who waited for another's reading to fail does not begin anew.
const READING_LIMIT: Duration = CONNECT_LIMIT.saturating_add(RESPONSE_LIMIT);

/// Goes before a command whose slot is on its way to the node that is asked.
const ASKING: &str = "ASKING";

/// Each node is asked once for all commands that concern it, and all nodes at the same time. docs/decisions.md says why
/// the driver's own cluster connection is not used.
#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

struct Shared {
    /// Where the others are asked for.
    seeds: Vec<String>,
    /// What is the same for all nodes: user, password, whether there is TLS.
    template: ConnectionInfo,
    runtime: Handle,
    /// By address: those of the layout, and to whom others have pointed since it was read.
    nodes: Mutex<HashMap<String, Node>>,
    layout: RwLock<Arc<Layout>>,
    /// Held by who reads the layout; others wait for what it finds.
    reading: tokio::sync::Mutex<()>,
}

/// Who holds which slots; empty until it is first read.
#[derive(Default)]
struct Layout {
    ranges: Vec<(Range, usize)>,
    owners: Vec<(String, Node)>,
}

impl Layout {
    /// The index of the slot's owner.
    fn owner_of(&self, slot: u16) -> Result<usize, RedisUnavailable> {
        let after = self.ranges.partition_point(|(range, _)| range.last < slot);
        let found = self.ranges.get(after).filter(|(range, _)| range.first <= slot);
        found.map(|(_, owner)| *owner).ok_or(RedisUnavailable::Uncovered)
    }

    fn is_owner(&self, address: &str, slot: u16) -> bool {
        self.owner_of(slot).is_ok_and(|owner| self.owners[owner].0 == address)
    }
}

/// A command that has no answer yet, and its place among all.
struct Errand {
    place: usize,
    slot: u16,
    command: Cmd,
    redirect: Option<Redirect>,
}

struct Redirect {
    address: String,
    /// Only this once: the slot is on its way there.
    is_asking: bool,
}

/// What one node is asked in one round trip.
struct Trip {
    address: String,
    node: Node,
    errands: Vec<Errand>,
}

impl Cluster {
    pub(super) fn new(seeds: &[ConnectionInfo]) -> Result<Self, &'static str> {
        let template = seeds.first().cloned().ok_or("must name a node")?;
        let is_tls = |info: &ConnectionInfo| matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        if seeds.iter().any(|info| is_tls(info) != is_tls(&template)) {
            return Err("must be redis:// for all nodes or rediss:// for all");
        }
        if seeds.iter().any(|info| matches!(info.addr(), ConnectionAddr::Unix(_))) {
            return Err("must name hosts: the nodes of a cluster are not reached by sockets of this machine");
        }
        if seeds.iter().any(|info| info.redis_settings().db() != 0) {
            return Err("must not name a database: a cluster has only number 0");
        }
        Ok(Self(Arc::new(Shared {
            seeds: seeds.iter().map(|info| info.addr().to_string()).collect(),
            template,
            runtime: Handle::current(),
            nodes: Mutex::default(),
            layout: RwLock::default(),
            reading: tokio::sync::Mutex::default(),
        })))
    }

    pub(super) async fn run(&self, commands: Vec<Cmd>) -> Result<Vec<Value>, RedisUnavailable> {
        let mut answers = vec![Value::Nil; commands.len()];
        let errand = |(place, command)| Errand { place, slot: slot_of(&command), command, redirect: None };
        let mut errands: Vec<Errand> = commands.into_iter().enumerate().map(errand).collect();
        let mut layout = self.layout().await?;
        for _ in 0..MAX_TURNS {
            let has_owner =
                |errand: &Errand| errand.redirect.is_some() || layout.owner_of(errand.slot).is_ok();
            if !errands.iter().all(has_owner) {
                layout = self.read_layout(&layout).await?;
            }
            let trips = self.divide(&layout, errands)?;
            let mut left = Left::default();
            for came in join_all(trips.into_iter().map(Trip::make)).await {
                left.sort(came, &mut answers)?;
            }
            if left.is_stale {
                layout = self.read_layout(&layout).await?;
            }
            errands = left.redirected;
            for (address, failed, error) in left.failed {
                // Nobody else has them: whoever asks can ask again.
                if failed.iter().any(|errand| layout.is_owner(&address, errand.slot)) {
                    return Err(error);
                }
                errands.extend(failed);
            }
            if errands.is_empty() {
                return Ok(answers);
            }
        }
        Err(RedisUnavailable::Uncovered)
    }

    /// Asks every node that holds slots, as of now.
    pub(super) async fn ask_all(&self, command: &Cmd) -> Result<Vec<Value>, RedisUnavailable> {
        let layout = self.read_layout(&self.current()).await?;
        let asked = layout.owners.iter().map(|(_, node)| node.run(vec![command.clone()]));
        let answers: Result<Vec<_>, _> = join_all(asked).await.into_iter().collect();
        Ok(answers?.into_iter().flatten().collect())
    }

    /// One trip for each node that is to be asked.
    fn divide(&self, layout: &Layout, errands: Vec<Errand>) -> Result<Vec<Trip>, RedisUnavailable> {
        let trip = |(address, node): &(String, Node)| Trip {
            address: address.clone(),
            node: node.clone(),
            errands: Vec::new(),
        };
        let mut trips: Vec<Trip> = layout.owners.iter().map(trip).collect();
        for errand in errands {
            let trip = match &errand.redirect {
                None => layout.owner_of(errand.slot)?,
                Some(Redirect { address, .. }) => {
                    let known = trips.iter().position(|trip| trip.address == *address);
                    match known {
                        Some(trip) => trip,
                        None => {
                            let node = self.node(address)?;
                            trips.push(Trip { address: address.clone(), node, errands: Vec::new() });
                            trips.len() - 1
                        }
                    }
                }
            };
            trips[trip].errands.push(errand);
        }
        trips.retain(|trip| !trip.errands.is_empty());
        Ok(trips)
    }

    async fn layout(&self) -> Result<Arc<Layout>, RedisUnavailable> {
        let layout = self.current();
        if layout.owners.is_empty() { self.read_layout(&layout).await } else { Ok(layout) }
    }

    /// A layout that is newer than this one.
    async fn read_layout(&self, stale: &Arc<Layout>) -> Result<Arc<Layout>, RedisUnavailable> {
        let read = timeout(READING_LIMIT, self.read_layout_in_turn(stale)).await;
        read.unwrap_or(Err(RedisUnavailable::Uncovered))
    }

    async fn read_layout_in_turn(&self, stale: &Arc<Layout>) -> Result<Arc<Layout>, RedisUnavailable> {
        let _alone = self.0.reading.lock().await;
        let current = self.current();
        if !Arc::ptr_eq(stale, &current) {
            return Ok(current);
        }
        let mut addresses: Vec<&String> = current.owners.iter().map(|(address, _)| address).collect();
        addresses.extend(&self.0.seeds);
        addresses.sort_unstable();
        addresses.dedup();
        // Whoever answers first: the others may be what is wrong.
        let asked = addresses.into_iter().map(|address| Box::pin(self.ask_for_ranges(address)));
        let (ranges, _) = select_ok(asked).await?;
        let layout = Arc::new(self.layout_of(ranges)?);
        self.nodes().retain(|address, _| {
            self.0.seeds.contains(address) || layout.owners.iter().any(|(owner, _)| owner == address)
        });
        *self.0.layout.write().unwrap_or_else(PoisonError::into_inner) = layout.clone();
        Ok(layout)
    }

    async fn ask_for_ranges(&self, address: &str) -> Result<Vec<Range>, RedisUnavailable> {
        let mut command = cmd("CLUSTER");
        command.arg("SLOTS");
        let answers = self.node(address)?.run(vec![command]).await?;
        let ranges: Vec<Range> = answers.iter().flat_map(|answer| parse_ranges(answer, address)).collect();
        // One that has been taken out of the cluster knows of no slots.
        if ranges.is_empty() { Err(RedisUnavailable::Uncovered) } else { Ok(ranges) }
    }

    fn layout_of(&self, ranges: Vec<Range>) -> Result<Layout, RedisUnavailable> {
        let mut owners: Vec<(String, Node)> = Vec::new();
        let mut owned = Vec::with_capacity(ranges.len());
        for range in ranges {
            let owner = match owners.iter().position(|(address, _)| *address == range.owner) {
                Some(owner) => owner,
                None => {
                    owners.push((range.owner.clone(), self.node(&range.owner)?));
                    owners.len() - 1
                }
            };
            owned.push((range, owner));
        }
        Ok(Layout { ranges: owned, owners })
    }

    /// The node at this address, `host:port`; connects when it is first asked.
    fn node(&self, address: &str) -> Result<Node, RedisUnavailable> {
        if let Some(node) = self.nodes().get(address) {
            return Ok(node.clone());
        }
        let parsed = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = parsed.ok_or(RedisUnavailable::Uncovered)?;
        let address_of = match self.0.template.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host: host.to_owned(),
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host.to_owned(), port),
        };
        let info = self.0.template.clone().set_addr(address_of);
        let node = Node::new(info, self.0.runtime.clone()).map_err(RedisUnavailable::Command)?;
        Ok(self.nodes().entry(address.to_owned()).or_insert(node).clone())
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<String, Node>> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Arc<Layout> {
        self.0.layout.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Trip {
    async fn make(mut self) -> Came {
        let mut commands = Vec::with_capacity(self.errands.len());
        for errand in &mut self.errands {
            if errand.redirect.as_ref().is_some_and(|redirect| redirect.is_asking) {
                commands.push(cmd(ASKING));
            }
            commands.push(std::mem::take(&mut errand.command));
        }
        let pipeline = pipeline_of(commands);
        let answers = self.node.exchange(&pipeline).await;
        Came { address: self.address, errands: self.errands, pipeline, answers }
    }
}

/// What came of a trip. Its commands are in the pipeline, in the errands' order.
struct Came {
    address: String,
    errands: Vec<Errand>,
    pipeline: Pipeline,
    answers: Result<Vec<Value>, RedisUnavailable>,
}

/// What has no answer after a turn.
#[derive(Default)]
struct Left {
    redirected: Vec<Errand>,
    /// Whom a node did not serve, and why.
    failed: Vec<(String, Vec<Errand>, RedisUnavailable)>,
    /// Slots may have other owners than the layout says.
    is_stale: bool,
}

impl Left {
    /// Puts each answer into its place. What every node would refuse fails all.
    fn sort(&mut self, came: Came, answers: &mut [Value]) -> Result<(), RedisUnavailable> {
        let Came { address, errands, pipeline, answers: given } = came;
        let is_ours = |command: &Cmd| command.args_iter().next() != Some(Arg::Simple(ASKING.as_bytes()));
        let given = match given {
            Ok(given) => given,
            Err(error) => {
                self.is_stale = true;
                let commands = pipeline.cmd_iter().filter(|command| is_ours(command)).cloned();
                let errands = errands.into_iter().zip(commands);
                let errands = errands.map(|(errand, command)| Errand { command, redirect: None, ..errand });
                self.failed.push((address, errands.collect(), error));
                return Ok(());
            }
        };
        let given = pipeline.cmd_iter().zip(given).filter(|(command, _)| is_ours(command));
        for (errand, (command, answer)) in errands.into_iter().zip(given) {
            match answer {
                Value::ServerError(error) => {
                    let errand = Errand { command: command.clone(), redirect: None, ..errand };
                    self.refused(&address, errand, error)?;
                }
                answer => answers[errand.place] = answer,
            }
        }
        Ok(())
    }

    fn refused(&mut self, by: &str, errand: Errand, error: ServerError) -> Result<(), RedisUnavailable> {
        let kind = error.kind();
        let target = error.details().and_then(|detail| redirected_to(detail, by));
        match (kind, target) {
            (Some(ServerErrorKind::Moved | ServerErrorKind::Ask), Some(address)) => {
                let is_asking = kind == Some(ServerErrorKind::Ask);
                self.is_stale |= !is_asking;
                self.redirected.push(Errand { redirect: Some(Redirect { address, is_asking }), ..errand });
            }
            // No owner any more, or not yet.
            (
                Some(
                    ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
                    | ServerErrorKind::BusyLoading,
                ),
                _,
            ) => {
                self.is_stale = true;
                self.failed.push((by.to_owned(), vec![errand], RedisUnavailable::Command(error.into())));
            }
            _ => return Err(RedisUnavailable::Command(error.into())),
        }
        Ok(())
    }
}

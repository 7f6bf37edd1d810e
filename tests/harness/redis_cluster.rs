//! A real Redis Cluster: three servers with a third of the slots each, and replicas if asked for.

use tokio::sync::OnceCell;

use crate::ports::free_port;
use crate::redis::Redis;
use crate::wait::eventually;

const SLOTS: usize = 16_384;
const MASTERS: usize = 3;
/// After which a silent server counts as dead. Its replica takes over a second or two later.
const NODE_TIMEOUT_MS: u32 = 1_000;

/// Its servers, masters first.
pub struct RedisCluster {
    nodes: Vec<Redis>,
    bus_ports: Vec<u16>,
}

impl RedisCluster {
    /// The cluster that all tests of this process share, which change nothing about it.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<RedisCluster> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// One of the caller's own.
    pub async fn start() -> Self {
        let mut cluster = Self { nodes: Vec::new(), bus_ports: Vec::new() };
        for index in 0..MASTERS {
            cluster.add_node().await;
            let (first, end) = (index * SLOTS / MASTERS, (index + 1) * SLOTS / MASTERS);
            let node = &cluster.nodes[index];
            node.ask::<()>("CLUSTER", &["ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()]).await;
            node.ask::<()>("CLUSTER", &["SET-CONFIG-EPOCH", &(index + 1).to_string()]).await;
        }
        for index in 1..MASTERS {
            cluster.introduce(index).await;
        }
        cluster.agreed().await;
        cluster
    }

    /// Adds a replica of this master, and waits until it has all that the master has.
    pub async fn add_replica(&mut self, master: usize) {
        let replica = self.nodes.len();
        self.add_node().await;
        self.introduce(replica).await;
        self.agreed().await;
        let id = self.id(master).await;
        let node = &self.nodes[replica];
        node.ask::<()>("CLUSTER", &["REPLICATE", &id]).await;
        eventually("the replica has what its master has", async || {
            node.ask::<String>("INFO", &["replication"]).await.contains("master_link_status:up")
        })
        .await;
    }

    /// As REDIS_URL takes it: two of its nodes, the others are to be found.
    pub fn url(&self) -> String {
        [self.nodes[0].url(), self.nodes[1].url()].join(",")
    }

    pub fn node(&self, index: usize) -> &Redis {
        &self.nodes[index]
    }

    /// Which of the masters that it was started with holds this key.
    pub async fn owner_of(&self, key: &str) -> usize {
        self.slot_of(key).await * MASTERS / SLOTS
    }

    /// Begins to move the slot of this key, which is all that the slot has, and moves the key: until the end its old owner sends
    /// everybody on who asks for it, and its new one answers only who has been sent.
    pub async fn begin_to_move(&self, key: &str, to: usize) {
        let (from, slot) = (self.owner_of(key).await, self.slot_of(key).await.to_string());
        let (old, new) = (&self.nodes[from], &self.nodes[to]);
        new.ask::<()>("CLUSTER", &["SETSLOT", &slot, "IMPORTING", &self.id(from).await]).await;
        old.ask::<()>("CLUSTER", &["SETSLOT", &slot, "MIGRATING", &self.id(to).await]).await;
        let port = new.port().to_string();
        assert_eq!(old.ask::<String>("MIGRATE", &["127.0.0.1", &port, key, "0", "5000"]).await, "OK");
    }

    /// Ends [`RedisCluster::begin_to_move`].
    pub async fn end_to_move(&self, key: &str, to: usize) {
        let (id, slot) = (self.id(to).await, self.slot_of(key).await.to_string());
        for node in [to, self.owner_of(key).await] {
            self.nodes[node].ask::<()>("CLUSTER", &["SETSLOT", &slot, "NODE", &id]).await;
        }
    }

    async fn add_node(&mut self) {
        let bus_port = free_port();
        let flags = [
            "--cluster-enabled yes".to_owned(),
            "--cluster-config-file nodes.conf".to_owned(),
            format!("--cluster-node-timeout {NODE_TIMEOUT_MS}"),
            format!("--cluster-port {bus_port}"),
            "--repl-diskless-sync-delay 0".to_owned(),
        ];
        let flags = flags.iter().flat_map(|flag| flag.split(' ')).map(str::to_owned);
        self.nodes.push(Redis::start_with(flags.collect()).await);
        self.bus_ports.push(bus_port);
    }

    async fn introduce(&self, index: usize) {
        let (port, bus_port) = (self.nodes[index].port().to_string(), self.bus_ports[index].to_string());
        self.nodes[0].ask::<()>("CLUSTER", &["MEET", "127.0.0.1", &port, &bus_port]).await;
    }

    /// Waits until all nodes know each other and each slot's owner.
    async fn agreed(&self) {
        let all = format!("cluster_known_nodes:{}", self.nodes.len());
        for node in &self.nodes {
            eventually("the nodes are a cluster", async || {
                let info: String = node.ask("CLUSTER", &["INFO"]).await;
                info.contains("cluster_state:ok") && info.contains(&all)
            })
            .await;
        }
    }

    async fn id(&self, index: usize) -> String {
        self.nodes[index].ask("CLUSTER", &["MYID"]).await
    }

    async fn slot_of(&self, key: &str) -> usize {
        self.nodes[0].ask("CLUSTER", &["KEYSLOT", key]).await
    }
}

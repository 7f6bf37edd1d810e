//! What Kubernetes does with pods, with the timings of the chart.

use std::time::Duration;

use harness::cluster::Cluster;
use harness::kube_service::KubeService;
use harness::process::ServiceProcess;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

/// How long it takes every node to know that a pod is no endpoint any more. Of that, `preStopSeconds` must be the longer.
const PROPAGATION: Duration = Duration::from_secs(1);

/// What of `deploy/chart/values.yaml` says how a roll-out goes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Values {
    pub api_server: Timings,
    pub gateway: Timings,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    pub shutdown_grace: String,
    /// Gateways have one.
    pub drain_window: Option<String>,
    pre_stop_seconds: u64,
    termination_grace_period_seconds: u64,
    max_surge: usize,
    max_unavailable: usize,
}

impl Values {
    pub fn of_the_chart() -> Self {
        let values = crate::documents::read("deploy/chart/values.yaml");
        serde_saphyr::from_str(&values).unwrap_or_else(|e| panic!("{e}"))
    }
}

/// A ready pod.
pub struct Pod {
    pub process: ServiceProcess,
    pub public_port: u16,
    pub internal_port: u16,
}

/// Pods of one kind, and the Services before them.
pub struct Deployment<'a> {
    pub timings: Timings,
    pub public: &'a KubeService,
    /// Before the internal listeners; nobody looks for a gateway through one.
    pub internal: Option<&'a KubeService>,
    pub pods: Vec<Pod>,
}

impl Deployment<'_> {
    /// Starts as many, one after the other.
    pub async fn scale(&mut self, cluster: &Cluster, replicas: usize) {
        for _ in 0..replicas {
            self.surge(cluster).await;
        }
    }

    /// Replaces every pod. The next one's turn is when the last one's old pod has gone: what `minReadySeconds` is for.
    pub async fn roll_out(&mut self, cluster: &Cluster) {
        assert_eq!((self.timings.max_surge, self.timings.max_unavailable), (1, 0), "this rolls out so");
        for _ in 0..self.pods.len() {
            self.surge(cluster).await;
            let old = self.pods.remove(0);
            self.terminate(&old).await;
        }
    }

    /// One more. Ready, as its probe says, before anybody is sent there.
    async fn surge(&mut self, cluster: &Cluster) {
        let pod = if self.internal.is_some() {
            let api = cluster.spawn_api().await;
            Pod { process: api.process, public_port: api.public_port, internal_port: api.internal_port }
        } else {
            let gateway = cluster.spawn_gateway().await;
            let (public_port, internal_port) = (gateway.public_port, gateway.internal_port);
            Pod { process: gateway.process, public_port, internal_port }
        };
        self.public.add(pod.public_port);
        if let Some(internal) = self.internal {
            internal.add(pod.internal_port);
        }
        self.pods.push(pod);
    }

    /// It stops being an endpoint while `preStop` sleeps; then SIGTERM, and at the end of the grace period SIGKILL, which
    /// must not be needed.
    async fn terminate(&self, pod: &Pod) {
        let timings = &self.timings;
        let deadline = Instant::now() + Duration::from_secs(timings.termination_grace_period_seconds);
        let forget = async {
            sleep(PROPAGATION).await;
            self.public.remove(pod.public_port);
            if let Some(internal) = self.internal {
                internal.remove(pod.internal_port);
            }
        };
        let end = async {
            sleep(Duration::from_secs(timings.pre_stop_seconds)).await;
            pod.process.sigterm();
            pod.process.wait_exit_by(deadline).await
        };
        // Nobody waits for the one before the other.
        match tokio::join!(forget, end).1 {
            Some(status) => assert!(status.success(), "{status}"),
            None => {
                pod.process.kill9().await;
                panic!("SIGKILL: the pod was still there when its grace period had ended");
            }
        }
    }
}

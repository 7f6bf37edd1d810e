//! A real Prometheus that watches a cluster, with the rules that are shipped.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::child::GuardedChild;
use crate::ports::free_port;
use crate::wait::eventually;

/// One server with an empty memory. It ends when dropped.
pub struct Prometheus {
    port: u16,
    client: Client,
    _server: GuardedChild,
}

impl Prometheus {
    /// Scrapes these jobs, `host:port` of each, once a second, and evaluates `rules` as often.
    pub async fn start(jobs: &[(&str, Vec<String>)], rules: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("naru-prometheus-").tempdir();
        let directory = directory.expect("a temporary directory").keep();
        let jobs: Vec<Value> = jobs
            .iter()
            .map(|(job, targets)| json!({"job_name": job, "static_configs": [{"targets": targets}]}))
            .collect();
        // JSON is YAML.
        let configuration = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": jobs,
        });
        let file = directory.join("prometheus.yml");
        std::fs::write(&file, configuration.to_string()).expect("the temporary directory can be written");
        let port = free_port();
        let mut command = Command::new(programs().join("prometheus"));
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        // What it remembers is worth no orderly end.
        let mut server = GuardedChild::new("KILL", Some(&directory));
        server.start(command);
        let client = Client::builder().no_proxy().build().expect("a client without special wishes");
        let ready = format!("http://127.0.0.1:{port}/-/ready");
        eventually("Prometheus is ready", async || {
            assert!(server.is_running(), "Prometheus ended");
            client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        Self { port, client, _server: server }
    }

    /// The samples that the query finds now: labels and value of each. Panics when it is not understood.
    pub async fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let found = self.ask(self.client.post(self.url("query")).form(&[("query", query)])).await;
        let samples = found["result"].as_array().expect("an instant query finds a list");
        samples
            .iter()
            .map(|sample| {
                let value = sample["value"][1].as_str().and_then(|text| text.parse().ok());
                (sample["metric"].clone(), value.expect("a sample has a number"))
            })
            .collect()
    }

    /// Every rule, as Prometheus sees it.
    pub async fn rules(&self) -> Vec<Value> {
        let found = self.ask(self.client.get(self.url("rules"))).await;
        let groups = found["groups"].as_array().expect("there are groups");
        groups.iter().flat_map(|group| group["rules"].as_array().expect("of rules").clone()).collect()
    }

    async fn ask(&self, request: RequestBuilder) -> Value {
        let answer = request.send().await.expect("Prometheus answers");
        let mut answer: Value = answer.json().await.expect("in JSON");
        assert_eq!(answer["status"], "success", "{answer}");
        answer["data"].take()
    }

    fn url(&self, call: &str) -> String {
        format!("http://127.0.0.1:{}/api/v1/{call}", self.port)
    }
}

/// Where the project's own script finds it, or puts it.
fn programs() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace");
    let output = Command::new(root.join("deploy/prometheus/install")).output().expect("the script starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).expect("a path of ours is UTF-8").trim())
}

use std::path::{Path, PathBuf};
use std::process::Command as BlockingCommand;
use std::time::Duration;

use tokio::process::Command;

use crate::test::kubeconfig;

/// A process of the cluster under test, which must be one of `testing/cluster` on this machine.
#[derive(Clone, Copy)]
pub enum Component<'a> {
    ApiServer,
    /// The kubelet of a node.
    Kubelet(&'a str),
}

impl Component<'_> {
    /// Stops it for this long, so that it neither answers nor does anything, and lets it go on: also when the
    /// test does not live to see that.
    ///
    /// # Panics
    /// When there is no such process.
    pub async fn away_for(self, span: Duration) {
        let file = self.pid_file();
        let pid = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        // A kubelet is nsenter's child, which stops and goes on with it.
        let away = "parent=$(ps -o ppid= -p $0); kill -STOP $0 && sleep $1; kill -CONT $0 $parent";
        let seconds = span.as_secs().to_string();
        let ended = Command::new("setsid")
            .args(["--wait", "sh", "-c", away, pid.trim(), &seconds])
            .status()
            .await;
        assert!(
            ended.expect("setsid").success(),
            "it is stopped and goes on"
        );
    }

    fn pid_file(self) -> PathBuf {
        let name = match self {
            Self::ApiServer => "apiserver".to_owned(),
            Self::Kubelet(node) => format!("{node}.kubelet"),
        };
        PathBuf::from(kubeconfig()).with_file_name("pid").join(name)
    }
}

/// A process of a node, which [`Outage::begin`] kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeProcess {
    Kubelet,
    Containerd,
}

impl NodeProcess {
    fn name(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Containerd => "containerd",
        }
    }
}

/// A killed process of a node of `testing/cluster`. It is started again when this is dropped.
pub struct Outage {
    node: String,
    process: NodeProcess,
}

impl Outage {
    /// Kills the process.
    ///
    /// # Panics
    /// When there is no such process.
    pub async fn begin(node: &str, process: NodeProcess) -> Self {
        on_cluster("stop", node, &[process.name()]).await;
        let node = node.to_owned();
        Self { node, process }
    }

    /// Starts the process again.
    pub fn end(self) {
        drop(self);
    }

    /// Runs a line of shell in the node, as root. It needs no kubelet.
    ///
    /// # Panics
    /// When it fails.
    pub async fn sh(&self, line: &str) {
        on_cluster("enter", &self.node, &["sh", "-c", line]).await;
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        let (mut script, cluster) = script();
        let words = ["start", &cluster, &self.node, self.process.name()];
        let started = script.args(words).status();
        if !started
            .as_ref()
            .is_ok_and(std::process::ExitStatus::success)
        {
            eprintln!("{words:?}: {started:?}");
        }
    }
}

/// The script for the nodes of `testing/cluster`, and the name of the cluster under test.
fn script() -> (BlockingCommand, String) {
    let kubeconfig = PathBuf::from(kubeconfig());
    let cluster = kubeconfig.parent().expect("the folder of the cluster");
    let name = cluster.file_name().expect("its name").to_string_lossy();
    let state = cluster.parent().expect("the folder of all clusters");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cluster/node");
    let mut script = BlockingCommand::new(path);
    script.env("KUBECI_STATE_DIR", state);
    (script, name.into_owned())
}

async fn on_cluster(action: &str, node: &str, words: &[&str]) {
    let (script, cluster) = script();
    let mut script = Command::from(script);
    let script = script.args([action, &cluster, node]).args(words);
    let status = script.status().await.expect("the script of the cluster");
    assert!(status.success(), "{action} {node} {words:?}");
}

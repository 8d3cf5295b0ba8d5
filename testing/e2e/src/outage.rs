use std::path::PathBuf;
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

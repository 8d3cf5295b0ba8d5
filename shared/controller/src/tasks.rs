use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinError},
};

/// The tasks of an operator that run until it stops. If one ends before, the process ends with an error that names it.
#[derive(Clone, Debug)]
pub struct Tasks(mpsc::UnboundedSender<EndedTask>);

/// A task that ended although it must not.
#[derive(Debug, thiserror::Error)]
#[error("{name} {}", self.how())]
pub struct EndedTask {
    name: String,
    panic: Option<JoinError>,
}

impl EndedTask {
    fn how(&self) -> String {
        match &self.panic {
            None => "ended".to_owned(),
            Some(panic) => format!("panicked: {panic}"),
        }
    }
}

impl Tasks {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<EndedTask>) {
        let (sender, ended) = mpsc::unbounded_channel();
        (Self(sender), ended)
    }

    /// Starts a task. The handle may abort it without an error.
    pub fn spawn(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        let (name, ended) = (name.into(), self.0.clone());
        let task = tokio::spawn(task);
        let handle = task.abort_handle();
        tokio::spawn(async move {
            let panic = task.await.err();
            if !panic.as_ref().is_some_and(JoinError::is_cancelled) {
                // It fails only while the process stops.
                let _ = ended.send(EndedTask { name, panic });
            }
        });
        handle
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn only_tasks_that_end_are_reported() {
        let (tasks, mut ended) = Tasks::new();
        tasks.spawn("aborted", pending()).abort();
        tasks.spawn("quiet", pending());
        tasks.spawn("watch of pods", async {});
        let reported = ended.recv().await.unwrap();
        assert_eq!(reported.to_string(), "watch of pods ended");
        tasks.spawn("queue", async { panic!("no more") });
        let reported = ended.recv().await.unwrap().to_string();
        assert!(
            reported.starts_with("queue panicked: ") && reported.contains("no more"),
            "{reported}"
        );
        tokio::task::yield_now().await;
        assert!(ended.try_recv().is_err());
    }
}

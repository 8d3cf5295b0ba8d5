use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinError},
};

/// The tasks of an operator that go on until it is asked to stop. Where one ends by itself, the process ends
/// with an error that names it.
#[derive(Clone, Debug)]
pub struct Tasks(mpsc::UnboundedSender<EndedTask>);

/// A task that ended although it should not.
#[derive(Debug, thiserror::Error)]
#[error("{name} {}", self.how())]
pub struct EndedTask {
    name: String,
    panic: Option<JoinError>,
}

impl EndedTask {
    fn how(&self) -> String {
        match &self.panic {
            None => "ended by itself".to_owned(),
            Some(panic) => format!("died: {panic}"),
        }
    }
}

impl Tasks {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<EndedTask>) {
        let (sender, ended) = mpsc::unbounded_channel();
        (Self(sender), ended)
    }

    /// Starts a task. It may be aborted by the handle, which is no end by itself.
    pub fn spawn(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        let (name, tell) = (name.into(), self.0.clone());
        let task = tokio::spawn(task);
        let handle = task.abort_handle();
        tokio::spawn(async move {
            let panic = task.await.err();
            if !panic.as_ref().is_some_and(JoinError::is_cancelled) {
                // Nobody listens any more only if the process stops.
                let _ = tell.send(EndedTask { name, panic });
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
    async fn only_tasks_that_end_by_themselves_are_told() {
        let (tasks, mut ended) = Tasks::new();
        tasks.spawn("aborted", pending()).abort();
        tasks.spawn("quiet", pending());
        tasks.spawn("watch of pods", async {});
        let told = ended.recv().await.unwrap();
        assert_eq!(told.to_string(), "watch of pods ended by itself");
        tasks.spawn("queue", async { panic!("no more") });
        let told = ended.recv().await.unwrap().to_string();
        assert!(
            told.starts_with("queue died: ") && told.contains("no more"),
            "{told}"
        );
        tokio::task::yield_now().await;
        assert!(ended.try_recv().is_err());
    }
}

//! Creates Workplans, in the order of their events and within limits, and schedules retries.

use std::{collections::BTreeMap, time::Duration};

use kube::{Api, Client, ResourceExt, api::PostParams, core::Request};
use kubeci_api::Workplan;
use kubeci_controller::{
    Backoff, Due, Outcome,
    api_error::{is_namespace_terminating, is_too_large, message},
    request_metadata,
};
use kubeci_triggers::{CreateError, Creation, Retry, Uid, is_same_event, name_taken};
use tokio::time::Instant;

use crate::{
    bounded_tasks::{BoundedTasks, Limits, Task},
    metrics::Metrics,
};

const LIMITS: Limits = Limits {
    tasks: 32,
    bytes: 8 << 20,
    interval: Duration::ZERO,
};
const BACKOFF: Backoff = Backoff::up_to(Duration::from_secs(30));

/// The creations that wait or run, and the retries.
pub struct WorkplanCreator {
    client: Client,
    metrics: Metrics,
    creations: BoundedTasks<CreateTask>,
    retries: BTreeMap<(Instant, u64), Retry>,
    last_retry: u64,
}

struct CreateTask {
    client: Client,
    creation: Creation,
    due: Due,
}

/// The result of a creation.
pub struct CreateResult {
    pub workflow: Uid,
    pub object: Uid,
    /// The name of the Workplan.
    pub created: Result<String, CreateError>,
}

impl WorkplanCreator {
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self {
            client,
            metrics,
            creations: BoundedTasks::new(LIMITS),
            retries: BTreeMap::new(),
            last_retry: 0,
        }
    }

    /// Whether no creation waits or runs.
    pub fn is_idle(&self) -> bool {
        self.creations.len() == 0
    }

    pub fn create(&mut self, creation: Creation) {
        self.creations.push(CreateTask {
            client: self.client.clone(),
            creation,
            due: self.metrics.runtime.due(),
        });
    }

    /// Waits for the result of the next creation. Cancel safe.
    pub async fn next(&mut self) -> CreateResult {
        self.creations.next().await
    }

    /// Schedules a retry after the backoff of its attempts.
    pub fn schedule_retry(&mut self, retry: Retry) {
        let due = Instant::now() + BACKOFF.delay(retry.attempts);
        self.last_retry += 1;
        self.retries.insert((due, self.last_retry), retry);
    }

    /// When the next retry is due.
    pub fn next_retry(&self) -> Option<Instant> {
        self.retries.keys().next().map(|(due, _)| *due)
    }

    /// The retries that are due.
    pub fn take_due_retries(&mut self) -> impl Iterator<Item = Retry> {
        let later = self.retries.split_off(&(Instant::now(), u64::MAX));
        std::mem::replace(&mut self.retries, later).into_values()
    }
}

impl Task for CreateTask {
    type Output = CreateResult;

    fn bytes(&self) -> usize {
        self.creation.bytes()
    }

    async fn run(self) -> CreateResult {
        let reconciling = self.due.begin();
        let outline = self.creation.outline();
        let name = outline.name_any();
        let created = match self.creation.body(&outline) {
            Ok(body) => create(&self.client, &outline, body).await,
            Err(error) => Err(CreateError::Unknown(error.to_string())),
        };
        let outcome = match &created {
            Ok(()) | Err(CreateError::NamespaceTerminating) => Outcome::Success,
            Err(error) => {
                tracing::warn!(
                    workplan = name,
                    "cannot create the Workplan; retrying: {error}"
                );
                Outcome::Error
            }
        };
        reconciling.end(outcome);
        CreateResult {
            workflow: self.creation.workflow,
            object: self.creation.object,
            created: created.map(|()| name),
        }
    }
}

/// Creates the Workplan of an outline. It is not applied, because an earlier attempt may have created it.
async fn create(client: &Client, outline: &Workplan, body: Vec<u8>) -> Result<(), CreateError> {
    let namespace = outline.namespace().unwrap_or_default();
    let api: Api<Workplan> = Api::namespaced(client.clone(), &namespace);
    match send(client, &api, body).await {
        Ok(()) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            check_existing(&api, outline).await
        }
        Err(kube::Error::Api(status)) if is_namespace_terminating(&status) => {
            Err(CreateError::NamespaceTerminating)
        }
        Err(kube::Error::Api(status)) if is_too_large(&status) => {
            Err(CreateError::TooLarge(status.message.clone()))
        }
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => {
            Err(CreateError::Rejected(status.message.clone()))
        }
        Err(error) => Err(CreateError::Unknown(message(&error))),
    }
}

/// Checks that the existing Workplan of this name is that of the same event.
async fn check_existing(api: &Api<Workplan>, workplan: &Workplan) -> Result<(), CreateError> {
    match api.get_metadata(&workplan.name_any()).await {
        Ok(existing) if is_same_event(workplan, &existing.metadata) => Ok(()),
        Ok(_) => Err(CreateError::Rejected(name_taken(workplan))),
        Err(error) => Err(CreateError::Unknown(message(&error))),
    }
}

async fn send(client: &Client, api: &Api<Workplan>, body: Vec<u8>) -> kube::Result<()> {
    let request = Request::new(api.resource_url()).create(&PostParams::default(), body);
    let request = request.map_err(kube::Error::BuildRequest)?;
    request_metadata(client, request).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectMeta;
    use kubeci_api::{WorkplanSpec, names::HEAD_LABEL};
    use kubeci_controller::testing::{Answer, NO_ANSWER, client, rejected};
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn metadata(uid: &str) -> ObjectMeta {
        let owner = json!({
            "apiVersion": "kube.ci/v1alpha1", "kind": "Workflow", "name": "w", "uid": uid, "controller": true,
        });
        let metadata = json!({
            "name": "w-1", "namespace": "ns", "labels": {HEAD_LABEL: "head"}, "ownerReferences": [owner],
        });
        serde_json::from_value(metadata).unwrap()
    }

    /// The result of a creation with these answers.
    async fn created(answers: Vec<Answer>) -> Result<(), CreateError> {
        let mut answers = answers.into_iter();
        let client = client(move |_| answers.next().unwrap());
        let mut outline = Workplan::new("w-1", WorkplanSpec::default());
        outline.metadata = metadata("workflow");
        create(&client, &outline, b"{}".to_vec()).await
    }

    fn existing(uid: &str) -> Answer {
        (200, json!({"metadata": metadata(uid)}))
    }

    fn already_exists() -> Answer {
        rejected(409, "AlreadyExists", "it exists")
    }

    #[tokio::test]
    async fn existing_workplan_of_the_event_counts_as_created() {
        let result = created(vec![already_exists(), existing("workflow")]).await;
        assert_eq!(result, Ok(()));
    }

    #[tokio::test]
    async fn existing_workplan_of_another_event_rejects() {
        let result = created(vec![already_exists(), existing("other")]).await;
        assert!(
            matches!(&result, Err(CreateError::Rejected(message)) if message.contains("w-1 exists")),
            "{result:?}"
        );
    }

    #[rstest]
    #[case::deleted_since(404)]
    #[case::server_error(500)]
    #[case::no_answer(NO_ANSWER)]
    #[tokio::test]
    async fn existing_workplan_that_is_not_read_is_unknown(#[case] code: u16) {
        let result = created(vec![already_exists(), (code, Value::Null)]).await;
        assert!(matches!(result, Err(CreateError::Unknown(_))), "{result:?}");
    }

    #[rstest]
    #[case::created(existing("workflow"), Ok(()))]
    #[case::invalid(rejected(422, "Invalid", "no"), Err(CreateError::Rejected("no".into())))]
    #[case::forbidden(rejected(403, "Forbidden", "no"), Err(CreateError::Rejected("no".into())))]
    #[case::too_large(rejected(413, "", "large"), Err(CreateError::TooLarge("large".into())))]
    #[case::too_large_for_etcd(
        rejected(500, "", "etcdserver: request is too large"),
        Err(CreateError::TooLarge("etcdserver: request is too large".into()))
    )]
    #[case::server_error(rejected(500, "", "down"), Err(CreateError::Unknown("down".into())))]
    #[case::timeout(rejected(504, "Timeout", "slow"), Err(CreateError::Unknown("slow".into())))]
    #[tokio::test]
    async fn answer_decides_what_is_known(
        #[case] answer: Answer,
        #[case] expected: Result<(), CreateError>,
    ) {
        assert_eq!(created(vec![answer]).await, expected);
    }

    #[tokio::test]
    async fn creation_without_an_answer_is_unknown() {
        let result = created(vec![(NO_ANSWER, Value::Null)]).await;
        assert!(matches!(result, Err(CreateError::Unknown(_))), "{result:?}");
    }

    #[tokio::test]
    async fn terminating_namespace_ends_the_creation() {
        let cause = json!({"reason": "NamespaceTerminating", "message": "", "field": ""});
        let (code, mut answer) = rejected(403, "Forbidden", "it is being terminated");
        answer["details"] = json!({"kind": "workplans", "causes": [cause]});
        let result = created(vec![(code, answer)]).await;
        assert_eq!(result, Err(CreateError::NamespaceTerminating));
    }
}

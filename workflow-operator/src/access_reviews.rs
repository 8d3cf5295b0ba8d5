//! Asks the API server whether a Workflow's account may watch what its triggers name, again and again,
//! since grants come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    api_error::said,
    input::{Inbox, Input},
};
use kubeci_triggers::{
    trigger_state::{Account, Question},
    watch_key::Scope,
};

/// How soon a grant is noticed.
const REFUSED: Duration = Duration::from_secs(10);
/// How soon a withdrawal is noticed.
const GRANTED: Duration = Duration::from_mins(2);
const AT_ONCE: usize = 8;

/// Keeps asking these questions, as they change.
pub async fn ask(client: Client, mut questions: watch::Receiver<BTreeSet<Question>>, inbox: Inbox) {
    let mut due: BTreeMap<Question, Instant> = BTreeMap::new();
    loop {
        let wanted = questions.borrow_and_update().clone();
        due.retain(|question, _| wanted.contains(question));
        let now = Instant::now();
        let asked = wanted
            .into_iter()
            .filter(|question| due.get(question).is_none_or(|due| *due <= now));
        let asked: Vec<Question> = asked.collect();
        let mut answers = stream::iter(asked)
            .map(|question| review(&client, question))
            .buffer_unordered(AT_ONCE);
        while let Some((question, allowed)) = answers.next().await {
            let pause = if allowed == Some(true) {
                GRANTED
            } else {
                REFUSED
            };
            due.insert(
                question.clone(),
                Instant::now() + pause.mul_f64(0.75 + fastrand::f64() / 2.0),
            );
            let Some(allowed) = allowed else {
                continue;
            };
            if inbox.send(Input::Permit(question, allowed)).await.is_err() {
                return;
            }
        }
        let next = due.values().min().copied();
        tokio::select! {
            () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
            changed = questions.changed() => if changed.is_err() { return },
        }
    }
}

/// Whether it is allowed; nothing if there is no answer.
async fn review(client: &Client, question: Question) -> (Question, Option<bool>) {
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let review = SubjectAccessReview {
        spec: spec(&question),
        ..SubjectAccessReview::default()
    };
    let answer = reviews.create(&PostParams::default(), &review).await;
    let allowed = match answer {
        Ok(answer) => answer.status.map(|status| status.allowed),
        Err(error) => {
            tracing::warn!(
                "a SubjectAccessReview fails and is tried again: {}",
                said(&error)
            );
            None
        }
    };
    (question, allowed)
}

fn spec(question: &Question) -> SubjectAccessReviewSpec {
    let Question {
        account: Account { namespace, name },
        key,
        ..
    } = question;
    let attributes = ResourceAttributes {
        group: Some(key.resource.kind.group.clone()),
        version: Some(key.resource.kind.version.clone()),
        resource: Some(key.resource.plural.clone()),
        verb: Some("watch".to_owned()),
        name: question.name.clone(),
        namespace: match &key.scope {
            Scope::All => None,
            Scope::Namespace(namespace) => Some(namespace.clone()),
        },
        ..ResourceAttributes::default()
    };
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ];
    SubjectAccessReviewSpec {
        user: Some(format!("system:serviceaccount:{namespace}:{name}")),
        groups: Some(groups.into()),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    }
}

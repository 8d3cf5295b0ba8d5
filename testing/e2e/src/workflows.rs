use std::time::Duration;

use kubeci_api::Workflow;

use crate::{Test, all_in, eventually, eventually_within};

/// A permission that is withdrawn is noticed within this.
const REFUSAL: Duration = Duration::from_mins(4);

impl Test {
    /// The Workflow, once it says that it is Ready as it now stands.
    pub async fn workflow_ready(&self, workflow: &str) -> Workflow {
        let api = self.api::<Workflow>();
        eventually(&format!("Workflow {workflow} is Ready"), async || {
            let object = api.get(workflow).await.map_err(|error| error.to_string())?;
            let current = object.metadata.generation;
            let status = object.status.clone().unwrap_or_default();
            let ready = status.conditions.iter().any(|it| {
                it.type_ == "Ready" && it.status == "True" && it.observed_generation == current
            });
            if ready {
                Ok(object)
            } else {
                Err(format!("{:?}", status.conditions))
            }
        })
        .await
    }

    /// Waits until a condition of one of these types is `False` with a message that has all these words, in
    /// capitals or not.
    pub async fn workflow_refused(&self, workflow: &str, types: &[&str], words: &[&str]) {
        let api = self.api::<Workflow>();
        let what = format!("{workflow}: {types:?} is False and says {words:?}");
        eventually_within(REFUSAL, &what, async || {
            let object = api.get(workflow).await.map_err(|error| error.to_string())?;
            let conditions = object.status.unwrap_or_default().conditions;
            let said = conditions.iter().any(|it| {
                types.contains(&it.type_.as_str())
                    && it.status == "False"
                    && all_in(&it.message, words)
            });
            if said {
                Ok(())
            } else {
                Err(format!("{conditions:#?}"))
            }
        })
        .await;
    }

    /// Waits until a Workflow's status says that it last saw an object match, or that it did not.
    pub async fn workflow_sees(&self, workflow: &str, uid: &str, matches: bool) {
        let api = self.api::<Workflow>();
        let what = format!("that {uid} matches is {matches} for {workflow}");
        eventually(&what, async || {
            let object = api.get(workflow).await.map_err(|error| error.to_string())?;
            let status = object.status.unwrap_or_default();
            let seen = status.last_observed_resource_generation.unwrap_or_default();
            if seen.contains_key(uid) == matches {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await;
    }
}

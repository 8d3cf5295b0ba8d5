//! Requirements: the discoveries and access reviews that the triggers need, and their results.

use std::collections::BTreeSet;

use super::Engine;
use crate::{
    access_review::{AccessDecision, AccessReview},
    discovery::DiscoveryResult,
    filter::{Filter, selects_deletion},
    observation::Observation,
    resource::Kind,
    trigger_state::TriggerState,
    uid::Uid,
};

impl Engine {
    /// Whether [`Engine::undiscovered_kinds`] or [`Engine::access_reviews`] may have changed.
    #[must_use]
    pub fn requirements_changed(&self) -> bool {
        self.requirements_changed
    }

    /// Returns [`Engine::requirements_changed`] and resets it.
    pub fn take_requirements_changed(&mut self) -> bool {
        std::mem::take(&mut self.requirements_changed)
    }

    /// The kinds that triggers name and that the API does not serve, as far as is known.
    pub fn undiscovered_kinds(&mut self) -> BTreeSet<Kind> {
        let filters = self
            .workflows
            .values()
            .flat_map(|workflow| workflow.filters.iter().flatten());
        let named: BTreeSet<&Kind> = filters.map(|filter| &filter.kind).collect();
        self.kinds.retain(|kind, _| named.contains(kind));
        let served = |kind: &Kind| matches!(self.kinds.get(kind), Some(DiscoveryResult::Served(_)));
        let undiscovered = named.into_iter().filter(|kind| !served(kind));
        undiscovered.cloned().collect()
    }

    /// The access reviews to request repeatedly.
    pub fn access_reviews(&mut self) -> BTreeSet<AccessReview> {
        let states = self.workflows.values();
        let states = states.flat_map(|workflow| &workflow.trigger_states);
        let reviews = states.filter_map(TriggerState::access_review).cloned();
        let reviews: BTreeSet<AccessReview> = reviews.collect();
        self.review_results
            .retain(|review, _| reviews.contains(review));
        reviews
    }

    /// Discovery has a result.
    pub fn kind_discovered(&mut self, kind: &Kind, result: DiscoveryResult) {
        if self.kinds.get(kind) != Some(&result) {
            self.kinds.insert(kind.clone(), result);
            self.reconcile_where(|workflow| workflow.references(kind));
        }
    }

    /// The API serves the kind at no version any more: none of its objects exists.
    pub fn kind_removed(&mut self, kind: &Kind) {
        for uid in self.workflows_where(|workflow| workflow.references(kind)) {
            let deleted = self.objects_of(&uid, kind);
            self.observe(&uid, deleted);
        }
    }

    /// Observes the deletion of all objects of a kind that a live Workflow tracks.
    fn objects_of(&self, workflow: &Uid, kind: &Kind) -> Vec<(Uid, Observation)> {
        let workflow = self.workflows.get(workflow);
        let Some(workflow) = workflow.filter(|workflow| workflow.is_live()) else {
            return Vec::new();
        };
        let filters: Vec<Filter> = workflow.filters.iter().flatten().cloned().collect();
        let objects = workflow.queue.tracked_objects();
        let deleted = objects.filter(|(_, object)| object.resource.kind.same_objects(kind));
        let observations = deleted.map(|(uid, object)| {
            let selected = selects_deletion(&filters, object);
            (uid.clone(), Observation::Deleted { selected })
        });
        observations.collect()
    }

    /// An access review has a result.
    pub fn access_reviewed(&mut self, review: &AccessReview, decision: AccessDecision) {
        if self.review_results.insert(review.clone(), decision) != Some(decision) {
            self.reconcile_where(|workflow| {
                let mut states = workflow.trigger_states.iter();
                states.any(|state| state.access_review() == Some(review))
            });
        }
    }
}

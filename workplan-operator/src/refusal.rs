//! Why the API server does not create a pod, and whether it may create it later.

use kube::core::Status;
use kube::core::response::StatusDetails;
use kubeci_controller::api_error::is_too_large;

/// Why a pod could not be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub verdict: Verdict,
    pub reason: &'static str,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The pod will never be created: the Workplan is wrong, and it cannot be changed.
    Never,
    /// A policy refuses the pod, or the error does not state whether it is final. A label, a webhook or an exception
    /// can be corrected. The operator retries as long as for an image that cannot be pulled.
    Perhaps,
    /// The pod can be created after a change in the cluster. The operator retries without end.
    Later,
    /// The namespace is being deleted, with everything in it.
    Over,
}

impl Refusal {
    /// Reads the API server's answer to the creation of a pod. `is_admitted` states whether the known limits of the
    /// namespace admit the pod. None if the request failed for a reason other than the pod.
    #[must_use]
    pub fn of(status: &Status, is_admitted: impl FnOnce() -> bool) -> Option<Self> {
        let refusal = Self::read(status)?;
        let is_behind =
            refusal.verdict == Verdict::Never && is_about_resources(status) && is_admitted();
        Some(if is_behind {
            let message = format!(
                "the API server refuses the resources of the pod: {}. A LimitRange of the namespace may have changed \
                 just now; the operator retries",
                status.message
            );
            Self::new(Verdict::Perhaps, "LimitsChanged", message)
        } else {
            refusal
        })
    }

    fn read(status: &Status) -> Option<Self> {
        let text = status.message.as_str();
        if is_terminating(status) {
            return Some(Self::new(
                Verdict::Over,
                "NamespaceTerminating",
                text.to_owned(),
            ));
        }
        if is_too_large(status) {
            let message = format!(
                "the pod is too large to be stored: {text}. Move scripts and data into ConfigMaps that the steps mount, \
                 or give steps their own pods with isolate: true"
            );
            return Some(Self::new(Verdict::Never, "TooLarge", message));
        }
        if is_about_resources(status) {
            return Some(Self::new(Verdict::Never, "PodRefused", resources(text)));
        }
        if is_of_fields(status) {
            let message =
                format!("the API server refuses the pod as invalid: {text}. Correct the steps");
            return Some(Self::new(Verdict::Never, "PodInvalid", message));
        }
        match status.code {
            403 => Some(Self::forbidden(status, text)),
            400 | 422 => Some(Self::by_policy(text)),
            _ => None,
        }
    }

    fn new(verdict: Verdict, reason: &'static str, message: String) -> Self {
        Self {
            verdict,
            reason,
            message,
        }
    }

    fn forbidden(status: &Status, text: &str) -> Self {
        if is_of_authorization(status) {
            let message = format!(
                "the operator's ServiceAccount may not create pods; retrying: {text}. Restore the ClusterRole of the operator"
            );
            return Self::new(Verdict::Later, "OperatorForbidden", message);
        }
        // The API gives only a text of what admission refuses.
        if text.contains("exceeded quota") || text.contains("failed quota") {
            return Self::new(Verdict::Later, "QuotaExceeded", quota(text));
        }
        if text.contains("service account") || text.contains("serviceaccount") {
            let message = format!(
                "the ServiceAccount of the pod does not exist; retrying: {text}. Create the ServiceAccount, or correct \
                 spec.serviceAccountName"
            );
            return Self::new(Verdict::Later, "ServiceAccountMissing", message);
        }
        if text.contains("violates PodSecurity") {
            return Self::new(Verdict::Perhaps, "PodRefused", pod_security(text));
        }
        Self::by_policy(text)
    }

    fn by_policy(text: &str) -> Self {
        let text = text.trim_end_matches('.');
        let message = format!(
            "the API server refuses the pod: {text}. Correct the steps, or the policy that refuses them"
        );
        Self::new(Verdict::Perhaps, "PodRefused", message)
    }
}

/// Whether fields of the pod itself are invalid. A policy may answer 422, too, but names no field.
fn is_of_fields(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut fields = causes.map(|cause| !cause.field.is_empty());
    status.code == 422
        && fields
            .next()
            .is_some_and(|first| first && fields.all(|it| it))
}

/// Whether the operator itself lacks a permission. Such an error does not name the object, because authorization
/// precedes the read of the object.
fn is_of_authorization(status: &Status) -> bool {
    let details = status.details.as_ref();
    details.is_some_and(|details| !details.kind.is_empty() && details.name.is_empty())
}

fn quota(text: &str) -> String {
    if text.contains("failed quota") {
        return format!(
            "a ResourceQuota of the namespace refuses the pod; retrying: {text}. Set these requests and limits in the \
             resources of the steps that the message names, or create a LimitRange with defaults in the namespace"
        );
    }
    let together = if text.contains("limits.") {
        ". With execution: Relay the limits of all steps of a pod are added; with execution: Pods the limits of \
         steps that follow each other are not added"
    } else {
        ""
    };
    format!(
        "a ResourceQuota of the namespace has no room for the pod; retrying: {text}. Raise the quota, or lower the \
         requests of the steps{together}"
    )
}

/// Whether admission or validation only refuses quantities of resources.
fn is_about_resources(status: &Status) -> bool {
    const OF_LIMIT_RANGES: [&str; 4] = [
        " usage per Container is ",
        " usage per Pod is ",
        " limit to request ratio per Container is ",
        " limit to request ratio per Pod is ",
    ];
    if status.is_forbidden() {
        return OF_LIMIT_RANGES.iter().any(|it| status.message.contains(it));
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut fields = causes.map(|cause| cause.field.as_str()).peekable();
    status.is_invalid() && fields.peek().is_some() && fields.all(|it| it.contains(".resources"))
}

/// Whether the API server refuses the resources of the pod itself, not those of its containers. Admission has changed
/// the containers, or a quota has no room.
#[must_use]
pub fn blames_pod_level(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut fields = causes.map(|cause| cause.field.as_str());
    status.is_invalid() && fields.any(|field| field.starts_with("spec.resources"))
}

/// Whether a quota has no room for a pod.
#[must_use]
pub fn exceeds_quota(status: &Status) -> bool {
    status.is_forbidden() && status.message.contains("exceeded quota")
}

fn resources(text: &str) -> String {
    let of_pod = if text.contains("per Pod is ") {
        ". With execution: Relay the limits of all steps of a pod are added; with execution: Pods the limits of \
         steps that follow each other are not added"
    } else {
        ""
    };
    format!(
        "a LimitRange of the namespace refuses the requests or limits of the pod: {text}. Correct the resources of \
         the steps; a step without requests or limits has the defaults of the LimitRange{of_pod}"
    )
}

fn pod_security(text: &str) -> String {
    let advice = if text.contains("hostPath") {
        "The shared folder is a hostPath volume, which only the level privileged allows: use a namespace with the \
         label pod-security.kubernetes.io/enforce=privileged; or set workspace: {emptyDir: {}}, if the plan has one \
         pod, as most plans with execution: Relay"
    } else {
        "Set the securityContext of the steps as the message requires, or use a namespace with a lower level"
    };
    format!("Pod Security refuses the pod: {text}. {advice}")
}

fn is_terminating(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut reasons = causes.map(|cause| cause.reason.as_str());
    let is_namespace = |details: &StatusDetails| details.kind == "namespaces";
    reasons.any(|reason| reason == "NamespaceTerminating")
        || (status.is_not_found() && status.details.as_ref().is_some_and(is_namespace))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn answer(code: u16, reason: &str, message: &str, details: Value) -> Status {
        let mut status = Status::failure(message, reason).with_code(code);
        status.details = serde_json::from_value(details).unwrap();
        status
    }

    #[rstest]
    #[case::pod_security(403, "Forbidden", r#"pods "p" is forbidden: violates PodSecurity "baseline:latest": hostPath volumes (volume "kubeci-workspace")"#, Some((Verdict::Perhaps, "PodRefused")))]
    #[case::quota(403, "Forbidden", r#"pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"#, Some((Verdict::Later, "QuotaExceeded")))]
    #[case::quota_needs_requests(403, "Forbidden", r#"pods "p" is forbidden: failed quota: q: must specify limits.cpu"#, Some((Verdict::Later, "QuotaExceeded")))]
    #[case::no_account(403, "Forbidden", r#"pods "p" is forbidden: error looking up service account ns/builder: serviceaccount "builder" not found"#, Some((Verdict::Later, "ServiceAccountMissing")))]
    #[case::limit_range(403, "Forbidden", r#"pods "p" is forbidden: maximum cpu usage per Container is 1, but limit is 2"#, Some((Verdict::Perhaps, "LimitsChanged")))]
    #[case::admission_plugin(403, "Forbidden", r#"pods "p" is forbidden: Node "n" is read-only"#, Some((Verdict::Perhaps, "PodRefused")))]
    fn admission_errors_are_classified(
        #[case] code: u16,
        #[case] reason: &str,
        #[case] message: &str,
        #[case] expected: Option<(Verdict, &'static str)>,
    ) {
        let status = answer(code, reason, message, json!({"name": "p", "kind": "pods"}));
        is_read(&status, expected);
    }

    #[rstest]
    #[case::terminating(403, json!({"name": "p", "kind": "pods", "causes": [{"reason": "NamespaceTerminating", "message": "", "field": "metadata.namespace"}]}), "unable to create", Some((Verdict::Over, "NamespaceTerminating")))]
    #[case::namespace_gone(404, json!({"name": "ns", "kind": "namespaces"}), r#"namespaces "ns" not found"#, Some((Verdict::Over, "NamespaceTerminating")))]
    #[case::operator(403, json!({"kind": "pods"}), r#"pods is forbidden: User "u" cannot create resource "pods" in API group "" in the namespace "ns""#, Some((Verdict::Later, "OperatorForbidden")))]
    #[case::operator_by_a_webhook(403, json!({"kind": "pods"}), "pods is forbidden: not today", Some((Verdict::Later, "OperatorForbidden")))]
    #[case::admission_webhook(403, json!(null), r#"admission webhook "policy" denied the request: no"#, Some((Verdict::Perhaps, "PodRefused")))]
    #[case::webhook_without_code(400, json!(null), r#"admission webhook "policy" denied the request: no"#, Some((Verdict::Perhaps, "PodRefused")))]
    #[case::policy(422, json!({"name": "p", "kind": "pods", "causes": [{"message": "failed expression: false", "reason": "", "field": ""}]}), r#"pods "p" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'x' denied request: no"#, Some((Verdict::Perhaps, "PodRefused")))]
    #[case::invalid(422, json!({"name": "p", "kind": "Pod", "causes": [{"reason": "FieldValueNotFound", "message": "", "field": "spec.containers[0].volumeMounts[1].name"}]}), r#"Pod "p" is invalid: spec.containers[0].volumeMounts[1].name: Not found: "x""#, Some((Verdict::Never, "PodInvalid")))]
    #[case::etcd(500, json!(null), "etcdserver: request is too large", Some((Verdict::Never, "TooLarge")))]
    #[case::connection(500, json!(null), "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2139000 vs. 2097152)", Some((Verdict::Never, "TooLarge")))]
    #[case::body(413, json!(null), "Request entity too large: limit is 3145728", Some((Verdict::Never, "TooLarge")))]
    #[case::webhook_down(500, json!(null), "failed calling webhook", None)]
    #[case::too_many(429, json!(null), "later", None)]
    #[case::timeout(504, json!(null), "timed out", None)]
    fn api_errors_are_classified(
        #[case] code: u16,
        #[case] details: Value,
        #[case] message: &str,
        #[case] expected: Option<(Verdict, &'static str)>,
    ) {
        let reason = match code {
            403 => "Forbidden",
            404 => "NotFound",
            _ => "Other",
        };
        is_read(&answer(code, reason, message, details), expected);
    }

    fn is_read(status: &Status, expected: Option<(Verdict, &'static str)>) {
        let refusal = Refusal::of(status, || true);
        assert_eq!(
            refusal
                .as_ref()
                .map(|refusal| (refusal.verdict, refusal.reason)),
            expected
        );
        assert!(refusal.is_none_or(|refusal| refusal.message.contains(&status.message)));
    }

    #[rstest]
    #[case::host_path(
        r#"hostPath volumes (volume "kubeci-workspace")"#,
        "workspace: {emptyDir: {}}"
    )]
    #[case::own_fault("runAsNonRoot != true", "securityContext of the steps")]
    fn pod_security_error_has_advice(#[case] text: &str, #[case] advice: &str) {
        let message = pod_security(text);
        assert!(
            message.contains(text) && message.contains(advice),
            "{message}"
        );
    }
}

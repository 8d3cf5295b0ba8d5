//! What it means that the API server did not create a pod.

use kube::core::Status;

/// Why a pod could not be created, in words for the Workplan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub verdict: Verdict,
    pub reason: &'static str,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The pod will never be created.
    Never,
    /// Somebody may make it possible; it is tried again.
    Later,
    /// The namespace is going away, and everything in it.
    Over,
}

impl Refusal {
    /// Reads the API server's answer about a pod that the namespace's limits, as far as they are known here,
    /// admit or do not; none where it is no answer about the pod, but a failed request.
    #[must_use]
    pub fn of(status: &Status, is_admitted: impl FnOnce() -> bool) -> Option<Self> {
        let refusal = Self::read(status)?;
        let is_behind =
            refusal.verdict == Verdict::Never && is_about_resources(status) && is_admitted();
        Some(if is_behind {
            let message = format!(
                "the API server refuses what the pod requests: {}. A LimitRange of the namespace may have \
                 changed just now; it is tried again",
                status.message
            );
            Self {
                verdict: Verdict::Later,
                reason: "LimitsChanged",
                message,
            }
        } else {
            refusal
        })
    }

    fn read(status: &Status) -> Option<Self> {
        let text = status.message.as_str();
        let refusal = |verdict, reason, message| {
            Some(Self {
                verdict,
                reason,
                message,
            })
        };
        if is_terminating(status) {
            refusal(Verdict::Over, "NamespaceTerminating", text.to_owned())
        } else if is_about_resources(status) {
            refusal(Verdict::Never, "PodRefused", resources(text))
        } else if status.is_invalid() {
            let message =
                format!("the API server refuses the pod as invalid: {text}. Correct the steps");
            refusal(Verdict::Never, "PodInvalid", message)
        } else if status.code == 400 {
            let message = format!("the API server refuses the pod: {text}");
            refusal(Verdict::Never, "PodRefused", message)
        } else if !status.is_forbidden() {
            None
        } else if text.contains("cannot create resource") {
            let message = format!(
                "the operator's ServiceAccount may not create pods: {text}. Grant it; it is tried again"
            );
            refusal(Verdict::Later, "OperatorForbidden", message)
        } else if text.contains("violates PodSecurity") {
            refusal(Verdict::Never, "PodRefused", pod_security(text))
        } else if text.contains("exceeded quota") || text.contains("failed quota") {
            refusal(Verdict::Later, "QuotaExceeded", quota(text))
        } else if text.contains("service account") || text.contains("serviceaccount") {
            let message = format!(
                "{text}. Create the ServiceAccount, or correct spec.serviceAccountName; it is tried again"
            );
            refusal(Verdict::Later, "ServiceAccountMissing", message)
        } else {
            let message = format!("the API server refuses the pod: {text}");
            refusal(Verdict::Never, "PodRefused", message)
        }
    }
}

fn quota(text: &str) -> String {
    if text.contains("failed quota") {
        return format!(
            "a ResourceQuota of the namespace does not take the pod: {text}. State these requests and limits in the \
             resources of the steps it names, or give the namespace a LimitRange with defaults; it is tried again"
        );
    }
    let together = if text.contains("limits.") {
        ". With execution: Relay the limits of all steps of a pod count together, with execution: Pods those of \
         steps that follow each other count once"
    } else {
        ""
    };
    format!(
        "a ResourceQuota of the namespace has no room: {text}. It is tried again until there is; \
         raise the quota, or let the steps request less{together}"
    )
}

/// Whether admission or validation finds fault with the quantities of resources alone.
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

/// Whether the API server finds fault with what a pod requests itself, beside its containers: admission has
/// added to these, or a quota has no room for it.
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
        ". In a pod of a relay the limits of all steps add up; with execution: Pods those of steps that follow \
         each other do not"
    } else {
        ""
    };
    format!(
        "the namespace does not allow what the pod requests, or its limits: {text}. Correct the resources of the \
         steps; what a step does not say comes from the namespace's LimitRange{of_pod}"
    )
}

fn pod_security(text: &str) -> String {
    let advice = if text.contains("hostPath") {
        "The shared folder is a hostPath volume, which no level but privileged allows: run in a namespace with \
         the label pod-security.kubernetes.io/enforce=privileged, or say workspace: emptyDir, which a plan of one \
         pod can do with, as most are with execution: Relay"
    } else {
        "Set the securityContext of the steps as it asks, or run in a namespace with a lower level"
    };
    format!("Pod Security refuses the pod: {text}. {advice}")
}

fn is_terminating(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut reasons = causes.map(|cause| cause.reason.as_str());
    reasons.any(|reason| reason == "NamespaceTerminating")
        || status.message.contains("because it is being terminated")
        || (status.is_not_found() && status.message.starts_with("namespaces "))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::pod_security(403, "Forbidden", r#"pods "p" is forbidden: violates PodSecurity "baseline:latest": hostPath volumes (volume "kubeci-workspace")"#, Some((Verdict::Never, "PodRefused")))]
    #[case::quota(403, "Forbidden", r#"pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"#, Some((Verdict::Later, "QuotaExceeded")))]
    #[case::quota_needs_requests(403, "Forbidden", r#"pods "p" is forbidden: failed quota: q: must specify limits.cpu"#, Some((Verdict::Later, "QuotaExceeded")))]
    #[case::no_account(403, "Forbidden", r#"pods "p" is forbidden: error looking up service account ns/builder: serviceaccount "builder" not found"#, Some((Verdict::Later, "ServiceAccountMissing")))]
    #[case::terminating(403, "Forbidden", r#"pods "p" is forbidden: unable to create new content in namespace ns because it is being terminated"#, Some((Verdict::Over, "NamespaceTerminating")))]
    #[case::namespace_gone(404, "NotFound", r#"namespaces "ns" not found"#, Some((Verdict::Over, "NamespaceTerminating")))]
    #[case::admission_webhook(403, "Forbidden", r#"admission webhook "policy" denied the request: no"#, Some((Verdict::Never, "PodRefused")))]
    #[case::webhook_without_code(400, "BadRequest", r#"admission webhook "policy" denied the request: no"#, Some((Verdict::Never, "PodRefused")))]
    #[case::operator(403, "Forbidden", r#"pods is forbidden: User "u" cannot create resource "pods" in API group "" in the namespace "ns""#, Some((Verdict::Later, "OperatorForbidden")))]
    #[case::invalid(422, "Invalid", r#"Pod "p" is invalid: spec.containers[0].volumeMounts[1].name: Not found: "x""#, Some((Verdict::Never, "PodInvalid")))]
    #[case::webhook_down(500, "InternalError", "failed calling webhook", None)]
    #[case::too_many(429, "TooManyRequests", "later", None)]
    #[case::timeout(504, "Timeout", "timed out", None)]
    fn answers_are_told_apart(
        #[case] code: u16,
        #[case] reason: &str,
        #[case] message: &str,
        #[case] expected: Option<(Verdict, &'static str)>,
    ) {
        let status = Status::failure(message, reason).with_code(code);
        let refusal = Refusal::of(&status, || true);
        assert_eq!(
            refusal
                .as_ref()
                .map(|refusal| (refusal.verdict, refusal.reason)),
            expected
        );
        assert!(refusal.is_none_or(|refusal| refusal.message.contains(message)));
    }

    #[rstest]
    #[case::host_path(
        r#"hostPath volumes (volume "kubeci-workspace")"#,
        "workspace: emptyDir"
    )]
    #[case::own_fault("runAsNonRoot != true", "securityContext of the steps")]
    fn pod_security_is_told_with_what_helps(#[case] text: &str, #[case] advice: &str) {
        let said = pod_security(text);
        assert!(said.contains(text) && said.contains(advice), "{said}");
    }
}

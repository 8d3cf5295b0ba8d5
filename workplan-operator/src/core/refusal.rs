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
    /// Reads the API server's answer; none where it is no answer about the pod, but a failed request.
    #[must_use]
    pub fn of(status: &Status) -> Option<Self> {
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
            let message = format!(
                "a ResourceQuota of the namespace has no room: {text}. It is tried again until there is; \
                 raise the quota, or let the steps request less"
            );
            refusal(Verdict::Later, "QuotaExceeded", message)
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
        let refusal = Refusal::of(&status);
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

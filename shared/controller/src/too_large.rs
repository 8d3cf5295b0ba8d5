use kube::core::Status;

/// What etcd and the connection to it say of a request that is too large; the API server passes it on as an
/// internal error.
const OF_ETCD: [&str; 2] = [
    "etcdserver: request is too large",
    "trying to send message larger than max",
];

/// Whether an object is larger than what the API server takes, or etcd: no other attempt will do.
#[must_use]
pub fn is_too_large(status: &Status) -> bool {
    let of_etcd = || OF_ETCD.iter().any(|it| status.message.contains(it));
    status.code == 413 || (status.code >= 500 && of_etcd())
}

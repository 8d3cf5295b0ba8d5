//! The preparation of a pod, and the hook that waits for it.

use crate::pod::unshare;
use crate::relay::{Relay, Running, children, kill, prepared, until};

#[test]
fn installation_may_be_repeated() {
    let relay = Relay::of(&["a", "b"]);
    assert_eq!(relay.sh("a", &[], ":").code(), 0);
    relay.install(&["a", "b"]);
    assert_eq!(relay.sh("b", &["a"], ":").code(), 0);
}

#[test]
fn hook_ends_when_the_runner_is_there() {
    let relay = Relay::of(&[]);
    std::fs::remove_file(relay.runner()).unwrap();
    let hook = Running(relay.installed().spawn().unwrap());
    until("the hook waits", || relay.root().join(".meeting").exists());
    let install = Running(relay.installing(&["a"]).spawn().unwrap());
    assert_eq!(hook.code(), 0);
    assert!(relay.runner().exists());
    assert_eq!(install.code(), 0);
    assert!(!relay.root().join(".meeting").exists());
}

/// As the first process of a container, which the kernel spares what it has not asked for.
#[test]
fn installation_without_a_hook_can_be_stopped() {
    let relay = Relay::of(&[]);
    let install = relay.installing(&["a"]);
    let mut first = prepared(&unshare("--pid"));
    first
        .arg("--fork")
        .arg(install.get_program())
        .args(install.get_args());
    let unshare = Running(first.spawn().unwrap());
    let mark = relay.root().join(".absent/a");
    until("it is installed", || mark.exists());
    kill(children(unshare.pid())[0], "TERM");
    assert_eq!(unshare.code(), 143);
}

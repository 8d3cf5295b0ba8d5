//! Steps as in a pod: each in its own mounts, as its own user, with no rights at all.

use std::fs;
use std::process::Command;

use crate::relay::{Relay, Running, prepared};

impl Relay {
    /// As a container's first process: in a process namespace of its own, which ends with it.
    pub fn as_first_process(&self, step: &str, needs: &[&str], command: &[&str]) -> Command {
        let mut words = unshare("--pid");
        words.extend(["--fork", "--kill-child"].map(ToOwned::to_owned));
        words.extend(self.words(step, needs, command));
        prepared(&words)
    }

    /// With all file systems read-only but the workspace and the step's own folder of the relay, as a user
    /// without capabilities.
    fn in_container(&self, step: &str, needs: &[&str], script: &str, user: Option<u32>) -> Running {
        self.contained(step, self.words(step, needs, &["sh", "-c", script]), user)
    }

    pub fn contained(&self, step: &str, runner: Vec<String>, user: Option<u32>) -> Running {
        let own = self.path(&format!("own-{step}"));
        fs::create_dir(&own).unwrap();
        let mounts = format!(
            "set -e
             mount --make-rprivate /
             cd {base}
             mount --bind relay/{step} {own}
             for it in relay logs workspace; do mount --bind $it $it; done
             mount -o remount,bind,ro relay
             mount --bind {own} relay/{step}
             mount -o remount,bind,ro /
             cd /
             exec \"$@\"",
            base = self.path("").display(),
            own = own.display(),
        );
        let mut words = unshare("--mount");
        words.extend(
            ["sh", "-c", &mounts, "sh", "setpriv", "--no-new-privs"].map(ToOwned::to_owned),
        );
        words.extend(["--bounding-set=-all", "--inh-caps=-all"].map(ToOwned::to_owned));
        if let Some(user) = user.filter(|_| is_root()) {
            words.extend([
                format!("--reuid={user}"),
                format!("--regid={user}"),
                "--clear-groups".into(),
            ]);
        }
        words.extend(runner);
        Running(prepared(&words).spawn().unwrap())
    }
}

/// Root of the machine, or of a user namespace.
pub fn unshare(namespace: &str) -> Vec<String> {
    let user: &[&str] = if is_root() {
        &[]
    } else {
        &["--user", "--map-root-user"]
    };
    [&["unshare"], user, &[namespace]]
        .concat()
        .into_iter()
        .map(ToOwned::to_owned)
        .collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn steps_of_different_users_hand_over() {
    let relay = Relay::of(&["a", "b", "c"]);
    let steps = [
        relay.in_container("a", &[], ":", Some(1000)),
        relay.in_container("b", &["a"], ":", Some(65534)),
        relay.in_container("c", &["a", "b"], ":", None),
    ];
    assert_eq!(steps.map(Running::code), [0, 0, 0]);
}

#[test]
fn step_cannot_access_files_of_other_steps() {
    let relay = Relay::of(&["a", "b", "c", "d", "e"]);
    let a = relay.held("a", &[], "exit 1");
    assert_eq!(relay.sh("e", &[], ":").code(), 0);
    // Root without capabilities, the owner of all files. Each line must fail.
    let attack = format!(
        "exec 2> /dev/null; cd {}
         rm .bin/step-runner && exit 14; true > .bin/x && exit 15; mv .bin c/x && exit 16
         for it in a d e; do
           rm $it/record && exit 1; rm $it/absent && exit 2; rm .absent/$it && exit 3
           true > $it/record && exit 4; ln -s ../e/record $it/record && exit 5
           mv e/record $it/record && exit 6; mkdir $it/x && exit 7; ln .absent/$it c/$it && exit 8
           chmod 777 $it && exit 9; chmod 666 $it/record && exit 10
           true > /proc/self/cwd/$it/record && exit 11
         done
         mv d c/d && exit 12; rm -rf a d e .absent && exit 13; true",
        relay.root().display()
    );
    let c = relay.in_container("c", &[], &attack, None);
    assert_eq!(c.code(), 0);
    let b = relay.in_container("b", &["a"], ":", Some(1000));
    relay.until_up("b");
    relay.release("a");
    assert_eq!(a.code(), 1);
    assert_eq!(b.code(), 77);
    assert_eq!(relay.message("b"), "a failed");
    assert_eq!(relay.sh("d", &["e"], ":").code(), 0);
}

#[test]
fn unwritable_folder_is_reported() {
    let relay = Relay::of(&["a", "b"]);
    let words = relay.words("a", &[], &["true"]);
    let mut mounted = unshare("--mount");
    let root = relay.root();
    let mounts = format!(
        "mount --bind {0} {0}; mount -o remount,bind,ro {0}; exec \"$@\"",
        root.display()
    );
    mounted.extend(["sh".into(), "-c".into(), mounts, "sh".into()]);
    mounted.extend(words);
    let output = prepared(&mounted).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(
        said.contains("mount the folder of the step in the relay without readOnly"),
        "{said}"
    );
}

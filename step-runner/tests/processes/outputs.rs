//! The outputs of commands, in the record and in the termination message.

use std::collections::BTreeMap;

use step_runner::outputs::{Outputs, Refusal};
use step_runner::record::{End, Stage};

use crate::relay::{Relay, prepared};

impl Relay {
    pub fn outputs(&self, step: &str) -> BTreeMap<String, String> {
        match self.record(step).stage {
            Stage::Ended { outputs, .. } => outputs.map(Outputs::into_map).unwrap(),
            other => panic!("{step} has not ended: {other:?}"),
        }
    }

    fn refusal(&self, step: &str) -> Refusal {
        match self.record(step).stage {
            Stage::Ended {
                end: End::OutputRefused { refusal, .. },
                ..
            } => refusal,
            other => panic!("{step}: {other:?}"),
        }
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

const BLOCK: &str =
    r#"{ echo "notes<<END"; echo one; echo; echo "b=2"; echo END; } >> "$KUBECI_OUTPUT""#;

#[test]
fn completed_command_leaves_outputs() {
    let relay = Relay::of(&["a", "b"]);
    let script = format!("echo version=1.2.3 >> $KUBECI_OUTPUT; {BLOCK}");
    assert_eq!(relay.sh("a", &[], &script).code(), 0);
    let expected = map(&[("version", "1.2.3"), ("notes", "one\n\nb=2")]);
    assert_eq!(relay.outputs("a"), expected);
    assert_eq!(relay.sh("b", &["a"], ":").code(), 0);
    assert_eq!(relay.outputs("b"), map(&[]));
}

#[test]
fn failed_command_leaves_outputs_or_message() {
    let relay = Relay::of(&["a", "b", "c"]);
    let code = |step: &str, script: &str| relay.sh(step, &[], script).code();
    assert_eq!(code("a", "echo found=3 > $KUBECI_OUTPUT; exit 4"), 4);
    assert_eq!(relay.outputs("a"), map(&[("found", "3")]));
    let log = relay.path("logs/b");
    let both = format!(
        "echo x=1 > $KUBECI_OUTPUT; echo full > {}; exit 4",
        log.display()
    );
    assert_eq!(code("b", &both), 4);
    assert_eq!(
        (relay.outputs("b"), relay.message("b")),
        (map(&[("x", "1")]), "full".into())
    );
    assert_eq!(
        code("c", "echo no route: code=3 > $KUBECI_OUTPUT; exit 4"),
        4
    );
    assert_eq!(
        (relay.outputs("c"), relay.message("c")),
        (map(&[]), "no route: code=3".into())
    );
}

#[test]
fn plain_message_is_not_an_output() {
    let relay = Relay::of(&["a"]);
    assert_eq!(relay.sh("a", &[], "echo passed > $KUBECI_OUTPUT").code(), 0);
    assert_eq!(relay.outputs("a"), map(&[]));
}

#[test]
fn refused_outputs_fail_the_step() {
    let cases = [
        (
            "echo 9=1 > $KUBECI_OUTPUT",
            Refusal::Invalid,
            "line 1 of the outputs has an invalid key",
        ),
        (
            "printf 'a=1\\na<<E\\n' > $KUBECI_OUTPUT",
            Refusal::Invalid,
            "line 2 of the outputs begins",
        ),
        (
            "printf 'a=\\377' > $KUBECI_OUTPUT",
            Refusal::Invalid,
            "line 1 of the outputs has a control",
        ),
        (
            "head -c 5000 /dev/zero | tr '\\0' x > $KUBECI_OUTPUT",
            Refusal::TooLarge,
            "the outputs have 5000 bytes, but this step may have at most 3984:",
        ),
        (
            "yes a=1 | head -n 300000 > $KUBECI_OUTPUT",
            Refusal::TooLarge,
            "the outputs have 1200000 bytes",
        ),
    ];
    for (script, refusal, message) in cases {
        let relay = Relay::of(&["a", "b"]);
        assert_eq!(relay.sh("a", &[], script).code(), 123, "{script}");
        assert_eq!(relay.refusal("a"), refusal, "{script}");
        assert!(
            relay.message("a").starts_with(message),
            "{}",
            relay.message("a")
        );
        assert!(
            relay.message("a").contains("/kubeci"),
            "{}",
            relay.message("a")
        );
        assert_eq!(relay.sh("b", &["a"], ":").code(), 77);
    }
}

/// A runner that reads a pipe or a device would not end.
#[test]
fn replaced_file_is_not_followed() {
    let relay = Relay::of(&["a", "b", "c", "d"]);
    let secret = relay.path("workspace/secret");
    std::fs::write(&secret, "a=secret\n").unwrap();
    let replace = |with: &str| format!("rm $KUBECI_OUTPUT; {with} $KUBECI_OUTPUT");
    let link = replace(&format!("ln -s {}", secret.display()));
    for (step, with) in [
        ("a", link),
        ("b", replace("mkfifo")),
        ("c", replace("mkdir")),
    ] {
        assert_eq!(relay.sh(step, &[], &with).code(), 123, "{with}");
        assert!(
            relay.message(step).contains("cannot be read"),
            "{}",
            relay.message(step)
        );
        assert!(!relay.termination_message(step).contains("secret"));
    }
    assert_eq!(relay.sh("d", &[], "rm $KUBECI_OUTPUT").code(), 0);
}

#[test]
fn outputs_fit_what_the_kubelet_keeps() {
    let relay = Relay::of(&["a", "b"]);
    let share = 300;
    let run = |step: &str, script: &str| {
        let mut words = relay.words(step, &[], &["sh", "-c", script]);
        let bound = ["--output-bytes".to_owned(), (share - 112).to_string()];
        words.splice(2..2, bound);
        prepared(&words).output().unwrap().status.code()
    };
    let log = relay.path("logs/a");
    let value = "x".repeat(share - 112 - 3);
    let script = format!(
        "echo a={value} > $KUBECI_OUTPUT; yes | head -c 400 > {}; exit 2",
        log.display()
    );
    assert_eq!(run("a", &script), Some(2));
    assert!(relay.termination_message("a").len() <= share);
    assert_eq!(relay.outputs("a"), map(&[("a", &value)]));
    assert_eq!(
        run("b", &format!("echo ab={value} > $KUBECI_OUTPUT")),
        Some(123)
    );
    assert_eq!(relay.refusal("b"), Refusal::TooLarge);
}

use kubeci_plan::EdgeKind;

use super::*;

fn parsed(line: &str) -> Result<Arguments, String> {
    parse(line.split(' ').map(OsString::from)).map_err(|error| error.to_string())
}

#[test]
fn command_keeps_words_like_our_options() {
    let line = "run --step b --relay /r --needs a,c -- sh --step -- x";
    let Ok(Arguments::Run(run)) = parsed(line) else {
        panic!("{line}")
    };
    let needs: Vec<String> = run.needs.iter().map(ToString::to_string).collect();
    assert_eq!(
        (run.step.as_str(), needs),
        ("b", vec!["a".to_owned(), "c".to_owned()])
    );
    assert_eq!(
        (run.program, run.args),
        ("sh".into(), vec!["--step".into(), "--".into(), "x".into()])
    );
    assert_eq!(run.termination_log, PathBuf::from(TERMINATION_LOG));
    assert!(HELP.contains(&format!("[default: {}]", run.output_bytes)));
}

#[test]
fn needs_have_kinds() {
    let line = "run --step c --relay /r --needs a.failed,b.ended --repeated a --at-once -- x";
    let Ok(Arguments::Run(run)) = parsed(line) else {
        panic!("{line}")
    };
    let kinds: Vec<_> = run
        .needs
        .iter()
        .map(|it| (it.from.as_str(), it.kind))
        .collect();
    let expected = [("a", EdgeKind::OnFailure), ("b", EdgeKind::OnEnd)];
    assert_eq!((kinds, run.at_once), (expected.to_vec(), true));
    assert_eq!(run.repeated, ["a"]);
}

#[test]
fn needs_may_be_empty() {
    let Ok(Arguments::Run(run)) = parsed("run --step b --relay /r --needs  -- x") else {
        panic!()
    };
    assert_eq!(run.needs, []);
}

#[test]
fn time_limit_and_retries_are_read() {
    let line =
        "run --step b --relay /r --timeout 1500ms --grace 2s --retry limit=2,on=Timeout -- x";
    let Ok(Arguments::Run(run)) = parsed(line) else {
        panic!("{line}")
    };
    let limit = TimeLimit {
        timeout: Duration::from_millis(1500),
        grace: Duration::from_secs(2),
    };
    assert_eq!(run.limit, Some(limit));
    let expected = "limit=2,initial=0s,factor=0,max=0s,on=Timeout";
    assert_eq!(run.retry.to_string(), expected);
}

#[test]
fn expressions_and_values_are_read() {
    let line = "run --step b --relay /r --when a==b --set X=1 --set Y=a==b --step-values z={} --values event= -- x";
    let Ok(Arguments::Run(run)) = parsed(line) else {
        panic!("{line}")
    };
    let Expressions {
        when,
        set,
        step_values,
        values,
    } = run.expressions;
    let pairs = |named: Vec<Named>| named.into_iter().map(|it| (it.name, it.text));
    let all: Vec<_> = [set, step_values, values]
        .into_iter()
        .flat_map(pairs)
        .collect();
    let expected = [("X", "1"), ("Y", "a==b"), ("z", "{}"), ("event", "")];
    assert_eq!(when.as_deref(), Some("a==b"));
    assert_eq!(
        all,
        expected.map(|(name, text)| (name.to_owned(), text.to_owned()))
    );
}

#[test]
fn error_names_the_wrong_word() {
    let wrong = [
        ("", "expected install, installed or run"),
        ("go", "expected install, installed or run, not 'go'"),
        ("run --relay /r -- x", "--step is missing"),
        ("run --step b -- x", "--relay is missing"),
        ("run --step b --relay /r", "a command after -- is missing"),
        (
            "run --step b --relay /r --",
            "a command after -- is missing",
        ),
        ("run --step b --relay", "--relay needs a value"),
        (
            "run --step ../b --relay /r -- x",
            "'../b' is not the name of a step",
        ),
        (
            "run --step b --relay /r --needs a,.absent -- x",
            "'.absent' is not the name of a step",
        ),
        (
            "run --step b --relay /r --needs a,b -- x",
            "the step b cannot need itself",
        ),
        (
            "run --step b --relay /r --slots 0 -- x",
            "'0' is not a number of slots",
        ),
        ("run --step b --relay /r sh", "unknown argument 'sh'"),
        (
            "run --step b --relay /r --dir src -- x",
            "the working directory 'src' is not an absolute path",
        ),
        (
            "run --step b --relay /r --set A -- x",
            "--set 'A': a name and = are missing",
        ),
        (
            "run --step b --relay /r --values ={} -- x",
            "--values '={}': a name and = are missing",
        ),
        (
            "run --step b --relay /r --output-bytes 1Ki -- x",
            "'1Ki' is not a number of bytes",
        ),
        (
            "run --step b --relay /r --timeout 90 -- x",
            "--timeout 90: not a duration such as 90s",
        ),
        (
            "run --step b --relay /r --retry limit=1,on=Luck -- x",
            "--retry: 'on=Luck' is not part of a retry policy",
        ),
        (
            "run --step b --relay /r --retry limit=100 -- x",
            "--retry: the limit must be less than 100",
        ),
        ("install a", "--relay is missing"),
        (
            "install --relay /r --force a",
            "'--force' is not the name of a step",
        ),
    ];
    for (line, message) in wrong {
        let said = parsed(line).unwrap_err();
        assert!(said.starts_with(message), "{line}: {said}");
    }
}

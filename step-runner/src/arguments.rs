#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use kubeci_plan::{DurationText, NamedEdge, RetryPolicy};

use crate::error::Error;
use crate::expressions::{Expressions, Named};
use crate::record::{HEAD_BYTES, MAX_ATTEMPTS, MAX_BYTES};

/// The default of the most bytes of the outputs.
const OUTPUT_BYTES: usize = MAX_BYTES - HEAD_BYTES - 2;

/// The default file of a container's termination message.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// The default of Kubernetes for the time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(30);

pub const HELP: &str = "\
Runs the command of a step in a kubeci relay pod: waits for the dependencies of
the step, starts the command, and records its result.

Usage:
  step-runner install --relay DIR [--slots N] STEP...
      Prepares a pod, in its first container: copies itself to DIR/.bin/step-runner,
      creates a folder in the relay for each step, and ends after `installed` has
      started.

  step-runner installed --relay DIR
      Ends when the pod is prepared. It is the postStart hook of the first
      container: the kubelet starts the other containers after it has ended.

  step-runner run --relay DIR --step NAME [OPTIONS] -- COMMAND [ARG...]
      Runs COMMAND when all needed steps have ended as needed. The volume of the
      relay is mounted read-only at DIR, and its subPath NAME writable at DIR/NAME.

Options:
      --relay DIR            The volume that the steps of the pod share
      --step NAME            The step to run
      --needs STEP,...       The steps that must end before: STEP must complete,
                             STEP.ran complete or fail, STEP.failed fail, and
                             STEP.ended complete, fail or be skipped
      --repeated STEP,...    The needed steps that may be attempted again in another
                             pod: if one is killed, COMMAND is not run
      --at-once              Observe the ends of these steps in any order, instead of
                             one after the other
      --when EXPR            The condition: if it is false, COMMAND is not run
      --set NAME=EXPR        An environment variable of COMMAND, of which EXPR is the value
      --step-values STEP=MAP The values of a step of another pod in these expressions, such
                             as {'phase': 'completed', 'exitCode': 0, 'outputs': {}}
      --values NAME=VALUE    The value of another name in these expressions
      --slots N              The number of commands of the pod that run at the same time
                             [default: all]
      --dir DIR              The working directory of the command, an absolute path;
                             created if it is missing when the command starts
      --timeout DURATION     How long the command may run, such as 90s or 1500ms; after
                             that it gets SIGTERM
      --grace DURATION       The time from that SIGTERM to SIGKILL [default: 30s]
      --retry POLICY         When a failed command is started again, such as
                             limit=3,initial=1s,factor=2,max=300s,on=Failure+Timeout
      --output-bytes BYTES   The most bytes of the outputs of the command
                             [default: 3984]
      --termination-log FILE The file from which the kubelet reads the result
                             [default: /dev/termination-log]
  -h, --help                 Print this
  -V, --version              Print the version

Exit codes of run:
  that of COMMAND, or 128 and the number of the signal that ended it;
  77   skipped: a needed step ended otherwise, or the condition is false;
       or postponed: a needed step may be attempted again in another pod, or
       a signal stopped the wait
  122  the condition or an environment variable has no value; its message says why
  123  COMMAND completed, and its outputs are too large or malformed
  124  COMMAND ran longer than the timeout
  125  step-runner itself failed; its message says what to do
  126  COMMAND cannot be executed, or its working directory cannot be used
  127  COMMAND was not found
";

#[derive(Debug, PartialEq, Eq)]
pub enum Arguments {
    Help,
    Version,
    Install(Install),
    Installed { relay: PathBuf },
    Run(Box<Run>),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Install {
    pub relay: PathBuf,
    pub slots: Option<NonZeroUsize>,
    pub steps: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    pub relay: PathBuf,
    pub step: String,
    /// The edges to the step.
    pub needs: Vec<NamedEdge<String>>,
    /// The steps that may be attempted again in another pod.
    pub repeated: Vec<String>,
    /// Whether their ends are observed in any order.
    pub at_once: bool,
    /// The condition of the step, and the environment variables that are expressions.
    pub expressions: Expressions,
    /// The slots that the steps of the pod share; absent: all of them may run at the same time.
    pub slots: Option<NonZeroUsize>,
    /// The command's working directory; absent: the runner's own.
    pub dir: Option<PathBuf>,
    /// How long the command may run; absent: as long as it likes.
    pub limit: Option<TimeLimit>,
    /// When a failed command is started again.
    pub retry: RetryPolicy,
    pub termination_log: PathBuf,
    /// The most bytes of the outputs.
    pub output_bytes: usize,
    pub program: OsString,
    pub args: Vec<OsString>,
}

/// How long a command may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimit {
    /// From its start to SIGTERM.
    pub timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
}

/// Reads the command line, without the program's own name.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Arguments, Error> {
    let mut words = words.into_iter();
    let first = words.next().unwrap_or_default();
    match first.to_str() {
        Some("-h" | "--help" | "help") => Ok(Arguments::Help),
        Some("-V" | "--version") => Ok(Arguments::Version),
        Some("install") => install(&mut words),
        Some("installed") => installed(&mut words),
        Some("run") => run(&mut words),
        _ => usage(format!(
            "expected install, installed or run, not '{}'",
            first.display()
        )),
    }
}

fn install(words: &mut impl Iterator<Item = OsString>) -> Result<Arguments, Error> {
    let (mut relay, mut slots, mut steps) = (None, None, Vec::new());
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("-h" | "--help") => return Ok(Arguments::Help),
            Some("--relay") => relay = Some(value(words, "--relay")?),
            Some("--slots") => slots = Some(number(words, "--slots", "slots")?),
            _ => steps.push(step_name(&word)?),
        }
    }
    Ok(Arguments::Install(Install {
        relay: required(relay, "--relay")?.into(),
        slots,
        steps,
    }))
}

fn installed(words: &mut impl Iterator<Item = OsString>) -> Result<Arguments, Error> {
    let mut relay = None;
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("-h" | "--help") => return Ok(Arguments::Help),
            Some("--relay") => relay = Some(value(words, "--relay")?),
            _ => return usage(format!("unknown argument '{}'", word.display())),
        }
    }
    let relay = required(relay, "--relay")?.into();
    Ok(Arguments::Installed { relay })
}

fn run(words: &mut impl Iterator<Item = OsString>) -> Result<Arguments, Error> {
    let (mut relay, mut step, mut needs, mut dir) = (None, None, OsString::new(), None);
    let (mut repeated, mut at_once, mut slots) = (OsString::new(), false, None);
    let (mut timeout, mut grace, mut retry) = (None, GRACE, RetryPolicy::default());
    let mut expressions = Expressions::default();
    let mut termination_log = OsString::from(TERMINATION_LOG);
    let mut output_bytes = OUTPUT_BYTES;
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("-h" | "--help") => return Ok(Arguments::Help),
            Some("--relay") => relay = Some(value(words, "--relay")?),
            Some("--step") => step = Some(value(words, "--step")?),
            Some("--needs") => needs = value(words, "--needs")?,
            Some("--repeated") => repeated = value(words, "--repeated")?,
            Some("--at-once") => at_once = true,
            Some("--when") => expressions.when = Some(text(words, "--when")?),
            Some("--set") => expressions.set.push(named(words, "--set")?),
            Some("--step-values") => expressions.step_values.push(named(words, "--step-values")?),
            Some("--values") => expressions.values.push(named(words, "--values")?),
            Some("--slots") => slots = Some(number(words, "--slots", "slots")?),
            Some("--dir") => dir = Some(absolute(value(words, "--dir")?)?),
            Some("--timeout") => timeout = Some(duration(words, "--timeout")?),
            Some("--grace") => grace = duration(words, "--grace")?,
            Some("--retry") => retry = policy(words)?,
            Some("--output-bytes") => output_bytes = number(words, "--output-bytes", "bytes")?,
            Some("--termination-log") => termination_log = value(words, "--termination-log")?,
            Some("--") => break,
            _ => return usage(format!("unknown argument '{}'", word.display())),
        }
    }
    let step = step_name(&required(step, "--step")?)?;
    Ok(Arguments::Run(Box::new(Run {
        relay: required(relay, "--relay")?.into(),
        needs: edges(&needs, &step)?,
        repeated: names(&repeated)?,
        at_once,
        expressions,
        slots,
        dir,
        step,
        limit: timeout.map(|timeout| TimeLimit { timeout, grace }),
        retry,
        termination_log: termination_log.into(),
        output_bytes,
        program: required(words.next(), "a command after --")?,
        args: words.collect(),
    })))
}

fn value(words: &mut impl Iterator<Item = OsString>, of: &str) -> Result<OsString, Error> {
    words
        .next()
        .map_or_else(|| usage(format!("{of} needs a value")), Ok)
}

fn text(words: &mut impl Iterator<Item = OsString>, of: &str) -> Result<String, Error> {
    let text = value(words, of)?.into_string();
    text.or_else(|text| usage(format!("{of} {}: not UTF-8", text.display())))
}

/// A name and a text, with an equals sign between them.
fn named(words: &mut impl Iterator<Item = OsString>, of: &str) -> Result<Named, Error> {
    let text = text(words, of)?;
    match text.split_once('=') {
        Some((name, text)) if !name.is_empty() => Ok(Named {
            name: name.to_owned(),
            text: text.to_owned(),
        }),
        _ => usage(format!("{of} '{text}': a name and = are missing")),
    }
}

fn required(value: Option<OsString>, what: &str) -> Result<OsString, Error> {
    value.map_or_else(|| usage(format!("{what} is missing")), Ok)
}

fn number<T: FromStr>(
    words: &mut impl Iterator<Item = OsString>,
    of: &str,
    what: &str,
) -> Result<T, Error> {
    let text = value(words, of)?;
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.map_or_else(
        || usage(format!("'{}' is not a number of {what}", text.display())),
        Ok,
    )
}

fn absolute(path: OsString) -> Result<PathBuf, Error> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        return Ok(path);
    }
    usage(format!(
        "the working directory '{}' is not an absolute path",
        path.display()
    ))
}

fn duration(words: &mut impl Iterator<Item = OsString>, of: &str) -> Result<Duration, Error> {
    let text = value(words, of)?;
    match text.to_string_lossy().parse() {
        Ok(DurationText(duration)) => Ok(duration),
        Err(error) => usage(format!("{of} {}: {error}", text.display())),
    }
}

fn policy(words: &mut impl Iterator<Item = OsString>) -> Result<RetryPolicy, Error> {
    let text = value(words, "--retry")?;
    match text.to_string_lossy().parse::<RetryPolicy>() {
        Ok(policy) if policy.limit < MAX_ATTEMPTS => Ok(policy),
        Ok(_) => usage(format!(
            "--retry: the limit must be less than {MAX_ATTEMPTS}"
        )),
        Err(error) => usage(format!("--retry: {error}")),
    }
}

/// The names of steps, with commas between them.
fn names(list: &OsStr) -> Result<Vec<String>, Error> {
    texts(list)?
        .map(|name| step_name(OsStr::new(name)))
        .collect()
}

fn texts(list: &OsStr) -> Result<impl Iterator<Item = &str>, Error> {
    match list.to_str() {
        Some(list) => Ok(list.split(',').filter(|text| !text.is_empty())),
        None => usage(format!("'{}' is not a list of steps", list.display())),
    }
}

/// The text forms of edges, with commas between them.
fn edges(list: &OsStr, own: &str) -> Result<Vec<NamedEdge<String>>, Error> {
    let edges: Vec<_> = texts(list)?.map(edge).collect::<Result<_, _>>()?;
    if edges.iter().any(|edge| edge.from == own) {
        return usage(format!("the step {own} cannot need itself"));
    }
    Ok(edges)
}

fn edge(text: &str) -> Result<NamedEdge<String>, Error> {
    let NamedEdge { from, kind } = NamedEdge::parse(text);
    let from = step_name(OsStr::new(from))?;
    Ok(NamedEdge { from, kind })
}

/// The name of a step, which is also the name of its folder.
fn step_name(name: &OsStr) -> Result<String, Error> {
    let allowed = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    match name.to_str() {
        Some(text) if !text.is_empty() && !text.starts_with('-') && text.bytes().all(allowed) => {
            Ok(text.to_owned())
        }
        _ => usage(format!(
            "'{}' is not the name of a step; use lower-case letters, digits and '-'",
            name.display()
        )),
    }
}

fn usage<T>(problem: String) -> Result<T, Error> {
    Err(Error::Usage(problem))
}

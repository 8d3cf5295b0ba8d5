//! Conditions and variables with expressions, and what they decide, by the definition alone.

use kubeci_api::{EnvVar, Step};

/// What expressions find out about a step that has ended.
pub struct Ended {
    pub phase: &'static str,
    pub exit_code: Option<i32>,
}

/// What the expressions of a step decide once its edges hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Runs,
    IsSkipped,
    Fails,
}

/// The output that every step that completes writes.
pub const OUTPUT: &str = "v";

#[derive(Clone, Copy, Debug)]
enum Form {
    Completed,
    NotFailed,
    EndsWell,
    ExitsWithZero,
    HasOutput,
    Always,
    Never,
    Broken,
}

const FORMS: [Form; 8] = [
    Form::Completed,
    Form::NotFailed,
    Form::EndsWell,
    Form::ExitsWithZero,
    Form::HasOutput,
    Form::Always,
    Form::Never,
    Form::Broken,
];

impl Form {
    fn text(self, step: &str) -> String {
        match self {
            Self::Completed => format!("steps.{step}.phase == 'completed'"),
            Self::NotFailed => format!("steps.{step}.phase != 'failed'"),
            Self::EndsWell => format!("has(steps.{step}.exitCode) && steps.{step}.exitCode < 1"),
            Self::ExitsWithZero => format!("steps.{step}.exitCode == 0"),
            Self::HasOutput => format!("has(steps.{step}.outputs.{OUTPUT})"),
            Self::Always => "1 < 2".to_owned(),
            Self::Never => "workplan.name == ''".to_owned(),
            Self::Broken => "1 / 0 == 1".to_owned(),
        }
    }

    fn verdict(self, of: &Ended) -> Verdict {
        let holds = |holds| {
            if holds {
                Verdict::Runs
            } else {
                Verdict::IsSkipped
            }
        };
        match self {
            Self::Completed | Self::HasOutput => holds(of.phase == "completed"),
            Self::NotFailed => holds(of.phase != "failed"),
            Self::EndsWell => holds(of.exit_code == Some(0)),
            Self::ExitsWithZero => of.exit_code.map_or(Verdict::Fails, |code| holds(code == 0)),
            Self::Always => Verdict::Runs,
            Self::Never => Verdict::IsSkipped,
            Self::Broken => Verdict::Fails,
        }
    }
}

/// The steps that a step waits for.
fn waits_for(step: &Step) -> Vec<String> {
    let lists = [&step.dependency, &step.on_failure, &step.after];
    lists.into_iter().flatten().cloned().collect()
}

/// Gives some steps a condition, and some a variable with an output of a step before them.
pub fn with_conditions(steps: &mut [Step], dice: &[u8]) {
    for (step, dice) in steps.iter_mut().zip(dice) {
        let dice = usize::from(*dice);
        let before = waits_for(step);
        let named = before.get((dice / 24) % before.len().max(1));
        let form = FORMS[dice / 3 % 8];
        match (dice % 3, named) {
            (0, Some(named)) => step.when = Some(form.text(named)),
            (0, None) if dice / 3 % 8 > 4 => step.when = Some(form.text("")),
            (1, Some(named)) if dice.is_multiple_of(5) && step.approval.is_none() => {
                step.env.push(EnvVar {
                    name: "V".to_owned(),
                    expr: Some(format!("steps.{named}.outputs.{OUTPUT}")),
                    ..EnvVar::default()
                });
            }
            _ => {}
        }
    }
}

/// The steps that the expressions of a step name.
pub fn named(step: &Step) -> Vec<String> {
    let names = waits_for(step).into_iter();
    let expressions = || {
        let variables = step.env.iter().filter_map(|it| it.expr.as_deref());
        step.when.as_deref().into_iter().chain(variables)
    };
    names
        .filter(|name| expressions().any(|it| it.contains(&format!("steps.{name}."))))
        .collect()
}

/// What the expressions of a step decide, given how those ended that it waits for.
pub fn verdict(step: &Step, ended: impl Fn(&str) -> Ended) -> Verdict {
    let names = waits_for(step);
    let names = names.iter().map(String::as_str).chain([""]);
    let nothing = || Ended {
        phase: "",
        exit_code: None,
    };
    let of = |name: &str| {
        if name.is_empty() {
            nothing()
        } else {
            ended(name)
        }
    };
    let mut conditions = names
        .clone()
        .flat_map(|name| FORMS.map(|form| (name, form)));
    let condition = conditions.find(|(name, form)| step.when.as_ref() == Some(&form.text(name)));
    let decided = condition.map_or(Verdict::Runs, |(name, form)| form.verdict(&of(name)));
    let mut names = names;
    let lacks_output = names.any(|name| {
        let text = format!("steps.{name}.outputs.{OUTPUT}");
        let is_used = step.env.iter().any(|it| it.expr.as_ref() == Some(&text));
        is_used && of(name).phase != "completed"
    });
    match decided {
        Verdict::Runs if lacks_output => Verdict::Fails,
        decided => decided,
    }
}

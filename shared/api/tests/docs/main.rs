//! The documentation names everything that users meet: each condition, reason, label, reserved name, flag,
//! environment variable and metric in the code, and no other. These tests read the sources and `docs/`.
#![allow(clippy::unwrap_used)] // a file that cannot be read is a failed test

mod names;
mod pages;
mod source;

use std::collections::BTreeSet;

use names::{FROM_KUBERNETES, OTHER_WORDS};
use pages::Page;
use source::Source;

/// Fails with all problems at once, one a line.
fn assert_none(problems: impl IntoIterator<Item = String>) {
    let problems: BTreeSet<String> = problems.into_iter().collect();
    let lines: Vec<String> = problems.into_iter().collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

/// Words such as `StepFailed`: the form of conditions and reasons.
fn is_camel_case(text: &str) -> bool {
    text.len() > 2
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.chars().all(|char| char.is_ascii_alphanumeric())
        && text.chars().any(|char| char.is_ascii_lowercase())
}

/// The conditions and reasons that the reference explains.
fn documented_reasons() -> Vec<(usize, String)> {
    let entries =
        Page::read("reference.md").entries(|heading| heading.contains("Conditions and reasons"));
    entries
        .into_iter()
        .filter(|(_, name)| is_camel_case(name))
        .collect()
}

#[test]
fn every_condition_and_reason_is_documented() {
    let documented = documented_reasons();
    let undocumented = source::all().into_iter().flat_map(|source| {
        let names = source.literals().into_iter().chain(source.reasons());
        let names = names.filter(|(_, text)| is_camel_case(text) && !OTHER_WORDS.contains(&text.as_str()));
        let missing = names.filter(|(_, name)| !documented.iter().any(|(_, it)| it == name));
        let missing = missing.map(|(line, name)| {
            format!(
                "{}:{line}: {name:?} is no condition or reason of docs/reference.md; document it there, or add it to \
                 OTHER_WORDS in shared/api/tests/docs/names.rs",
                source.path
            )
        });
        missing.collect::<Vec<_>>()
    });
    assert_none(undocumented);
}

#[test]
fn every_documented_condition_and_reason_exists() {
    let names = |source: Source| source.literals().into_iter().chain(source.reasons());
    let known: BTreeSet<String> = source::all()
        .into_iter()
        .flat_map(names)
        .map(|(_, name)| name)
        .collect();
    let documented = documented_reasons().into_iter();
    let unknown = documented
        .filter(|(_, name)| !known.contains(name) && !FROM_KUBERNETES.contains(&name.as_str()));
    assert_none(
        unknown.map(|(line, name)| format!("docs/reference.md:{line}: no code sets {name}")),
    );
}

/// An exception that no code needs any more hides a later condition or reason of the same name.
#[test]
fn every_exception_is_needed() {
    let sources = source::all();
    let used: BTreeSet<String> = sources
        .iter()
        .flat_map(Source::literals)
        .map(|(_, text)| text)
        .collect();
    let unused = OTHER_WORDS.iter().filter(|word| !used.contains(**word));
    assert_none(
        unused.map(|word| format!("OTHER_WORDS: no code has the text {word:?}; remove it")),
    );
}

#[test]
fn every_label_and_reserved_name_is_documented() {
    let reference = Page::read("reference.md");
    let names = Source::read("shared/api/src/names.rs");
    let reserved = names.literals().into_iter();
    let missing = reserved.filter(|(_, name)| !reference.has(name));
    assert_none(missing.map(|(line, name)| {
        format!(
            "{}:{line}: {name:?} is not in docs/reference.md",
            names.path
        )
    }));
}

#[test]
fn every_documented_label_and_reserved_name_exists() {
    let reference = Page::read("reference.md");
    let entries =
        reference.entries(|heading| heading.contains("Labels") || heading.contains("Reserved"));
    let text: String = source::all()
        .iter()
        .map(|source| source.text.as_str())
        .chain(manifests().iter().map(String::as_str))
        .collect();
    let name = |name: &str| name.split(':').next().unwrap_or_default().to_owned();
    let unknown = entries
        .into_iter()
        .filter(|(_, it)| !text.contains(&name(it)));
    assert_none(unknown.map(|(line, name)| {
        format!("docs/reference.md:{line}: neither code nor deploy/ has {name}")
    }));
}

fn manifests() -> Vec<String> {
    source::files(&source::root().join("deploy"), "yaml")
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

/// Variables of steps, which have no flags.
const OF_STEPS: [&str; 4] = [
    "KUBECI_OUTPUT",
    "KUBECI_STEP",
    "KUBECI_WORKFLOW",
    "KUBECI_WORKPLAN",
];

/// Variables of the operators, and the flag of each: `KUBECI_LOG_LEVEL` is `--log-level`.
#[test]
fn every_variable_and_flag_is_documented() {
    let reference = Page::read("reference.md");
    let variables = source::all().into_iter().flat_map(|source| {
        let literals = source.literals().into_iter();
        let variables = literals.filter(|(_, text)| is_variable(text));
        let missing = variables.flat_map(|(line, variable)| {
            let is_of_step = OF_STEPS.contains(&variable.as_str());
            let flag = variable.strip_prefix("KUBECI_").filter(|_| !is_of_step);
            let flag = flag.map(flag_of);
            let names = [Some(variable), flag].into_iter().flatten();
            let missing = names.filter(|name| !reference.has(name));
            let path = &source.path;
            missing
                .map(|name| format!("{path}:{line}: {name} is not in docs/reference.md"))
                .collect::<Vec<_>>()
        });
        missing.collect::<Vec<_>>()
    });
    assert_none(variables);
}

#[test]
fn every_documented_variable_exists() {
    let reference = Page::read("reference.md");
    let literals: BTreeSet<String> = source::all()
        .iter()
        .flat_map(Source::literals)
        .map(|(_, text)| text)
        .collect();
    let documented = reference
        .code()
        .into_iter()
        .filter(|(_, name)| is_variable(name));
    let unknown = documented.filter(|(_, name)| !literals.contains(name));
    assert_none(
        unknown
            .map(|(line, name)| format!("docs/reference.md:{line}: the code does not have {name}")),
    );
}

fn is_variable(text: &str) -> bool {
    let name = text
        .strip_prefix("KUBECI_")
        .or(text.strip_prefix("POD_NAME").map(|_| "X"));
    name.is_some_and(|name| {
        !name.is_empty()
            && name
                .chars()
                .all(|char| char.is_ascii_uppercase() || char == '_')
    })
}

fn flag_of(variable: &str) -> String {
    format!("--{}", variable.to_lowercase().replace('_', "-"))
}

#[test]
fn every_metric_is_documented() {
    let operations = Page::read("operations.md");
    let documented: BTreeSet<String> = metrics(&operations)
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    let missing = source::all().into_iter().flat_map(|source| {
        let registered = source.registered_metrics().into_iter();
        let missing = registered.filter(|(_, name)| !documented.contains(name.as_str()));
        let path = source.path.clone();
        missing
            .map(|(line, name)| {
                format!("{path}:{line}: kubeci_{name} is not in docs/operations.md")
            })
            .collect::<Vec<_>>()
    });
    assert_none(missing);
}

#[test]
fn every_documented_metric_exists() {
    let registered: BTreeSet<String> = source::all()
        .iter()
        .flat_map(Source::registered_metrics)
        .map(|(_, name)| name)
        .collect();
    let operations = Page::read("operations.md");
    let unknown = metrics(&operations)
        .into_iter()
        .filter(|(_, name)| !registered.contains(name));
    assert_none(unknown.map(|(line, name)| {
        format!("docs/operations.md:{line}: no operator serves kubeci_{name}")
    }));
}

/// The metrics that a page names, without their prefix, labels and the suffixes that the exposition adds.
fn metrics(page: &Page) -> Vec<(usize, String)> {
    let names = page.code().into_iter().filter_map(|(line, name)| {
        let name = name.strip_prefix("kubeci_")?.split('{').next()?;
        let name = name.strip_suffix("_total").unwrap_or(name);
        Some((
            line,
            name.strip_suffix("_seconds").unwrap_or(name).to_owned(),
        ))
    });
    names.collect()
}

#[test]
fn every_link_leads_to_heading_or_file() {
    assert_none(pages::all().iter().flat_map(Page::broken_links));
}

/// The row of a table cannot be broken into lines.
#[test]
fn markdown_lines_have_less_than_120_characters() {
    let long = pages::all().into_iter().flat_map(|page| {
        let lines = page.lines().into_iter();
        let long = lines.filter(|(_, line)| line.chars().count() >= 120 && !line.starts_with('|'));
        long.map(|(line, _)| format!("{}:{line}", page.path))
            .collect::<Vec<_>>()
    });
    assert_none(long);
}

/// Tests that pages name as evidence, as in `hostile::a_step_reaches_nothing` or `…_reaches_nothing`.
#[test]
fn every_test_that_a_page_names_exists() {
    let functions = source::functions();
    let unknown = ["security.md", "concepts.md", "operations.md"]
        .map(Page::read)
        .into_iter()
        .flat_map(|page| {
            let named = page.code().into_iter().filter_map(|(line, code)| {
                let name = code.rsplit("::").next().unwrap_or_default().to_owned();
                let is_snake_case = |char: char| {
                    char.is_ascii_lowercase() || char.is_ascii_digit() || "_…".contains(char)
                };
                let is_test = name.matches('_').count() > 1 || code.contains("::");
                (is_test && name.chars().all(is_snake_case) && !name.starts_with("kubeci_"))
                    .then_some((line, name))
            });
            let exists = |name: &str| match name.strip_prefix('…') {
                Some(end) => functions.iter().any(|function| function.ends_with(end)),
                None => functions.iter().any(|function| function == name),
            };
            let unknown = named.filter(|(_, name)| !exists(name));
            unknown
                .map(|(line, name)| format!("{}:{line}: there is no test {name}", page.path))
                .collect::<Vec<_>>()
        });
    assert_none(unknown);
}

/// Fields whose own fields are of Kubernetes' types.
const OF_KUBERNETES: [&str; 11] = [
    "affinity",
    "conditions",
    "env",
    "envFrom",
    "imagePullSecrets",
    "matchExpressions",
    "resources",
    "securityContext",
    "tolerations",
    "volumeMounts",
    "volumes",
];

#[test]
fn every_field_is_documented() {
    let reference = Page::read("reference.md");
    let mut fields = BTreeSet::new();
    for crd in kubeci_api::definitions() {
        let crd = serde_json::to_value(crd).unwrap();
        for part in ["spec", "status"] {
            let schema = format!("/spec/versions/0/schema/openAPIV3Schema/properties/{part}");
            collect_fields(crd.pointer(&schema).unwrap(), &mut fields);
        }
    }
    assert!(
        fields.len() > 50,
        "the fields are not where they are looked for"
    );
    let missing = fields.into_iter().filter(|field| !reference.has(field));
    assert_none(missing.map(|field| format!("the field {field} is not in docs/reference.md")));
}

fn collect_fields(schema: &serde_json::Value, fields: &mut BTreeSet<String>) {
    for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
        fields.insert(field.clone());
        if !OF_KUBERNETES.contains(&field.as_str()) {
            collect_fields(schema, fields);
            collect_fields(&schema["items"], fields);
            collect_fields(&schema["additionalProperties"], fields);
        }
    }
}

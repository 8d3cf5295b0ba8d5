//! What this crate and the crate `cel` accept has the same value in both.

use std::collections::HashMap;
use std::sync::Arc;

use cel::objects::{Key, Map};
use cel::{Context as CelContext, Env, Value as CelValue, extensions};
use kubeci_expression::{Context, EvaluateError, Expression, ParseError, Problem, Syntax, Value};
use proptest::prelude::*;

use crate::generator::expressions;

const ROOTS: [&str; 4] = ["params", "event", "workflow", "steps"];

fn to_cel(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(value) => CelValue::Bool(*value),
        Value::Int(value) => CelValue::Int(*value),
        Value::Double(value) => CelValue::Float(*value),
        Value::Text(text) => CelValue::String(Arc::new(text.clone())),
        Value::List(items) => CelValue::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (Key::from(key.as_str()), to_cel(value)));
            let map: HashMap<Key, CelValue> = entries.collect();
            CelValue::Map(Map { map: Arc::new(map) })
        }
    }
}

/// Absent for a value that this crate does not have.
fn from_cel(value: &CelValue) -> Option<Value> {
    Some(match value {
        CelValue::Null => Value::Null,
        CelValue::Bool(value) => Value::Bool(*value),
        CelValue::Int(value) => Value::Int(*value),
        CelValue::Float(value) => Value::Double(*value),
        CelValue::String(text) => Value::Text(text.to_string()),
        CelValue::List(items) => Value::List(items.iter().map(from_cel).collect::<Option<_>>()?),
        CelValue::Map(map) => {
            let entries = map.map.iter().map(|(key, value)| match key {
                Key::String(key) => Some((key.to_string(), from_cel(value)?)),
                _ => None,
            });
            Value::Map(entries.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

fn of_reference(text: &str, context: &Context) -> Result<Option<Value>, String> {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings)
        .map_err(|error| error.to_string())?;
    let env = Arc::new(env);
    let mut values = CelContext::with_env(env.clone());
    for root in ROOTS {
        let value = Expression::parse(root).unwrap().evaluate(context).unwrap();
        values.add_variable_from_value(root, to_cel(&value));
    }
    let program = env.compile(text).map_err(|error| error.to_string())?;
    let value = program
        .execute(&values)
        .map_err(|error| error.to_string())?;
    Ok(from_cel(&value))
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Double(left), Value::Double(right)) => {
            left.partial_cmp(right) == Some(std::cmp::Ordering::Equal)
                || left.is_nan() && right.is_nan()
        }
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| same(left, right))
        }
        _ => left == right,
    }
}

/// Runs with a large stack, which the parser of the reference needs.
fn with_large_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(64 << 20);
    thread.spawn(test).unwrap().join().unwrap();
}

/// Whether this crate refuses on purpose what the reference accepts: keys that are no strings, conditions that are
/// no booleans, and a list plus a map.
fn is_stricter(error: &EvaluateError) -> bool {
    const STRICTER: [&str; 11] = [
        "a key of a map",
        "&&",
        "||",
        "!",
        "?",
        "+",
        "all",
        "exists",
        "exists_one",
        "filter",
        "map",
    ];
    match &error.problem {
        Problem::Types { operation, .. } => STRICTER.contains(&operation.as_str()),
        _ => false,
    }
}

/// Whether the reference fails to compare with NaN, which is neither less nor greater.
fn compares_nan(error: &str) -> bool {
    let orders = ["'_<_'", "'_<=_'", "'_>_'", "'_>=_'"];
    orders.iter().any(|it| error.contains(it)) && error.contains("double")
}

#[test]
fn values_equal_those_of_the_reference() {
    with_large_stack(|| {
        let context = crate::context();
        let config = ProptestConfig::with_cases(1000);
        proptest!(config, |(text in expressions())| {
            let expression = Expression::parse(&text).unwrap();
            let found = expression.evaluate(&context);
            let agrees = (0..ORDERS).any(|_| agree(&found, &of_reference(&text, &context)));
            prop_assert!(agrees, "{found:?}, not {:?}", of_reference(&text, &context));
        });
    });
}

/// The reference iterates over maps in random order, so it is asked until the order is the same.
const ORDERS: usize = 100;

fn agree(found: &Result<Value, EvaluateError>, expected: &Result<Option<Value>, String>) -> bool {
    match (found, expected) {
        (Ok(found), Ok(Some(expected))) => same(found, expected),
        (Err(_), Err(_)) => true,
        (Err(error), Ok(_)) => is_stricter(error),
        (_, Err(error)) => compares_nan(error),
        (Ok(_), Ok(None)) => false,
    }
}

#[test]
fn texts_parse_as_in_the_reference() {
    with_large_stack(|| {
        proptest!(ProptestConfig::with_cases(3000), |(text in fragments())| {
            let found = Expression::parse(&text);
            let expected = cel::Program::compile(&text);
            match (&found, &expected) {
                (Ok(_), Err(error)) => prop_assert!(false, "accepted: {error}"),
                (Err(error), Ok(_)) => prop_assert!(is_unsupported(error), "{error}"),
                _ => {}
            }
        });
    });
}

fn fragments() -> impl Strategy<Value = String> {
    let fragments = [
        "a",
        "b",
        "a.b",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "+",
        "-",
        "*",
        "==",
        "<",
        "&&",
        "||",
        "!",
        "?",
        ":",
        ".",
        ",",
        " in ",
        " ",
        "'s'",
        "\"\\n\"",
        "r'\\'",
        "'''\n'''",
        "0",
        "1.5",
        "0x1F",
        "-1",
        ".5",
        "1e3",
        "true",
        "null",
        "a.all(x, x)",
        "size(a)",
        "a.map(x, y, z)",
        "has(a.b)",
        "// c\n",
        "{'k': 1}",
        "[1, 2]",
        "a[0]",
        "_x",
        "'\\z'",
    ];
    let fragment = (0..fragments.len()).prop_map(move |at| fragments[at]);
    proptest::collection::vec(fragment, 1..9).prop_map(|it| it.concat())
}

/// Whether this crate refuses on purpose what the reference parses: unknown functions, a wrong number of arguments,
/// numbers that touch names, and typed objects.
fn is_unsupported(error: &ParseError) -> bool {
    matches!(
        error.problem,
        Syntax::UnknownFunction { .. }
            | Syntax::Call { .. }
            | Syntax::Unsupported { .. }
            | Syntax::Number(_)
    )
}

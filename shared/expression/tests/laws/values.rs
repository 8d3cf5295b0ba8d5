//! What expressions mean.

use kubeci_expression::{Context, Expression, Value};

fn value(text: &str) -> Value {
    Expression::parse(text)
        .unwrap()
        .evaluate(&crate::context())
        .unwrap()
}

#[test]
fn conditions_hold_as_written() {
    let holds = [
        "steps.a.phase == 'completed' && steps.a.exitCode == 0",
        r#"steps["build-it"].exitCode in [1, 2, 3]"#,
        "has(steps.a.outputs.version) && !has(steps.a.outputs.other)",
        r#"!has(steps.late.exitCode) && !has(steps.a.outputs["x-y"])"#,
        "steps.a.outputs.version.startsWith('1.') || steps.none.phase == 'failed'",
        "params.list.all(x, x > 0) && params.list.exists(x, x == 2) && params.list.exists_one(x, x == 3)",
        "params.list.map(x, x * 2) == [2, 4, 6] && params.list.map(x, x > 1, x) == [2, 3]",
        "params.map.exists(key, params.map[key] == 1)",
        "params.texts.filter(x, size(x) == 1) == ['a', 'é'] && 'bc' in params.texts",
        "'k' in params.map && params.map['k-2'] == 'v' && {'a': 1}.a == 1",
        "1 == 1.0 && 1 < 1.5 && 9223372036854775807 < 9223372036854775808.0 && !(1 == '1' || null == 0)",
        "7 / 2 == 3 && -7 / 2 == -3 && -7 % 3 == -1 && 7.0 / 2.0 == 3.5 && -(3) + 4 == 1 && --1 == 1",
        "true || 1 / 0 == 1 // the error does not decide",
        "1 / 0 == 1 || true",
        "'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b' && ' A '.trim().lowerAscii() == 'a'",
        "int('12') == 12 && int(1.9) == 1 && double('1.5') == 1.5 && string(true) == 'true' && bool('false') == false",
        "(1 > 2 ? 'a' : 2 > 1 ? 'b' : 'c') == 'b' && 'é'.size() == 1 && size({'a': 1}) == 1",
        "params.mixed[4].k == 1 && [1, 2][1] == 2 && params.no == null && object_is_no_root_of_this.all(x, x) || true",
        "'''a\n'b''' == \"a\\n'b\" && r'\\n' == '\\\\n' && \"\\x41\\101\\u0041\" == 'AAA'",
        r"'v1.2'.matches(r'^v\d+\.\d+$') && !matches('v1', '2') && 'abc'.matches('b')",
        "[{'namespace': 1}][0].namespace == 1",
    ];
    for text in holds {
        let expression = Expression::parse(text).unwrap();
        assert_eq!(expression.holds(&crate::context()), Ok(true), "{text}");
    }
}

#[test]
fn variable_of_macro_hides_outer_names() {
    let text = "params.list.map(params, [params].map(params, params + 1)[0])";
    assert_eq!(value(text), Value::parse("[2, 3, 4]").unwrap());
}

#[test]
fn texts_are_formatted() {
    let formatted = [
        ("steps.a.outputs.version", "1.2"),
        ("params.n", "3"),
        ("params.d", "1.5"),
        ("2.0 * 2.0", "4"),
        ("params.b", "true"),
        ("'v' + string(params.n)", "v3"),
    ];
    for (text, expected) in formatted {
        let found = Expression::parse(text).unwrap().to_text(&crate::context());
        assert_eq!(found.as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn references_are_roots_and_steps() {
    let text = r#"steps.a.phase == params.x || has(steps["b-c"].outputs.v) && has(steps.d)
        || event.all(steps, steps.not == object) || [1].exists(params, params > 0)"#;
    let expression = Expression::parse(text).unwrap();
    assert_eq!(Vec::from_iter(expression.steps()), ["a", "b-c", "d"]);
    assert_eq!(
        Vec::from_iter(expression.roots()),
        ["event", "object", "params", "steps"]
    );
}

#[test]
fn value_of_other_process_is_the_same() {
    let text =
        r#"{"a": [1, -1.5, "x\n\"\\é", null, true, {}], "b-c": {"d": -9223372036854775808}}"#;
    let value = Value::parse(text).unwrap();
    assert_eq!(value.to_string(), text);
    let context = Context::new().with("params", value.clone());
    assert_eq!(
        Expression::parse("params").unwrap().evaluate(&context),
        Ok(value)
    );
}

#[cfg(feature = "json")]
#[test]
fn json_becomes_a_value() {
    let json = r#"{"a": [1, -1.5, "x", null, true, 18446744073709551615]}"#;
    let value = Value::from(serde_json::from_str::<serde_json::Value>(json).unwrap());
    assert_eq!(
        value.to_string(),
        r#"{"a": [1, -1.5, "x", null, true, 1.8446744073709552e19]}"#
    );
}

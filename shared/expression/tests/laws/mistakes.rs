//! What errors say.

use kubeci_expression::Expression;

#[track_caller]
fn assert_messages(cases: &[(&str, &str)], message: impl Fn(&str) -> String) {
    for (text, expected) in cases {
        assert_eq!(message(text), *expected, "{text}");
    }
}

fn syntax_error(text: &str) -> String {
    let parsed = Expression::parse(text);
    parsed.map_or_else(|error| error.to_string(), |_| String::new())
}

fn check_error(text: &str) -> String {
    let checked = Expression::parse(text)
        .unwrap()
        .check_condition(&crate::scope());
    checked.map_or_else(|error| error.to_string(), |()| String::new())
}

fn evaluation_error(text: &str) -> String {
    let value = Expression::parse(text).unwrap().holds(&crate::context());
    value.map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn syntax_errors_say_what_would_be_right() {
    assert_messages(SYNTAX, syntax_error);
}

#[test]
fn checks_say_what_would_be_right() {
    assert_messages(CHECKS, check_error);
}

#[test]
fn evaluation_errors_say_the_values() {
    assert_messages(EVALUATIONS, evaluation_error);
}

/// The message of an error, if a case has it.
pub fn is_message(message: &str) -> bool {
    let cases = [SYNTAX, CHECKS, EVALUATIONS];
    cases.into_iter().flatten().any(|it| it.1 == message)
}

const SYNTAX: &[(&str, &str)] = &[
    ("", "column 1: the expression is empty"),
    (
        "steps.a.phase =",
        "column 15: found '=', expected ==, which compares",
    ),
    (
        "steps.a.phase = 'x'",
        "column 15: found '=', expected ==, which compares",
    ),
    ("a & b", "column 3: found '&', expected &&"),
    (
        "a b",
        "column 3: found 'b', expected an operator or the end",
    ),
    ("(a", "column 3: found the end, expected an operator or ')'"),
    ("[1, 2", "column 6: found the end, expected ',' or ']'"),
    ("{'a' 1}", "column 6: found '1', expected ':' and a value"),
    (
        "a ? b",
        "column 6: found the end, expected ':' and the value if the condition is false",
    ),
    (
        "a.",
        "column 3: found the end, expected the name of a field or method",
    ),
    ("'abc", "column 1: the string has no end; it ends with '"),
    (
        "'''abc'",
        "column 1: the string has no end; it ends with '''",
    ),
    (
        "'a\\z'",
        "column 3: '\\z' is not an escape sequence; a backslash is written \\\\, or the string r\"…\"",
    ),
    (
        "9223372036854775808",
        "column 1: 9223372036854775808 exceeds an integer of 64 bits; write a double, such as 1e20",
    ),
    (
        "steps.2a.phase",
        "column 6: '2a' is neither a number nor a name; a field or step with other characters than letters, digits and _, or with a digit first, is written in brackets: steps[\"2-a\"]",
    ),
    (
        "steps.a-2b.phase == 'x'",
        "column 9: '2b' is neither a number nor a name; a field or step with other characters than letters, digits and _, or with a digit first, is written in brackets: steps[\"2-a\"]",
    ),
    (
        "1u",
        "column 1: unsigned integers are not supported; leave out the u",
    ),
    ("b'x'", "column 1: bytes are not supported; write a string"),
    (
        "Pod{name: 'x'}",
        "column 1: objects with a type are not supported; write a map: {\"a\": b}",
    ),
    (
        "steps.a.in",
        "column 9: 'in' is a reserved word; a field of this name is written [\"in\"]",
    ),
    (
        "for",
        "column 1: 'for' is a reserved word; a field of this name is written [\"for\"]",
    ),
    (
        "upper(a)",
        "column 1: there is no function upper; the functions are size, contains, startsWith, endsWith, matches, lowerAscii, upperAscii, trim, split, join, replace, int, double, string, bool, all, exists, exists_one, filter, map, has",
    ),
    (
        "a.matches('(')",
        "column 11: the regular expression is wrong: found open group without closing ')'",
    ),
    (
        "a.matches('(a{99}){99}')",
        "column 11: the regular expression is wrong: compiled regex exceeded size limit",
    ),
    (
        "size()",
        "column 1: wrong call of size; it is written size(a)",
    ),
    (
        "contains(a, 'b')",
        "column 1: wrong call of contains; it is written a.contains(\"b\")",
    ),
    (
        "'a'.contains()",
        "column 5: wrong call of contains; it is written a.contains(\"b\")",
    ),
    (
        "has(a)",
        "column 1: wrong call of has; it is written has(a.b), or has(a[\"b-c\"])",
    ),
    (
        "has(steps.a-b.exitCode)",
        "column 1: wrong call of has; it is written has(a.b), or has(a[\"b-c\"])",
    ),
    (
        "[1].all(1, true)",
        "column 5: wrong call of all; it is written a.all(x, condition) with any name x; exists, exists_one and filter like all",
    ),
    (
        "[1].map(x)",
        "column 5: wrong call of map; it is written a.map(x, value), or a.map(x, condition, value), with any name x",
    ),
    (
        "a.`b-c`",
        "column 3: found '`', expected a field in brackets: [\"a-b\"]",
    ),
    (
        "a #",
        "column 3: found '#', expected a value, a name or an operator",
    ),
    (
        "true &&\n  steps.a.phase == ",
        "line 2, column 20: found the end, expected a value or a name",
    ),
    (
        "a == é",
        "column 6: found 'é', expected a value, a name or an operator",
    ),
];

const CHECKS: &[(&str, &str)] = &[
    (
        "parms.x == 1",
        "column 1: there is no parms; the names are steps, params, event, workflow, workplan",
    ),
    (
        "steps.a-b.phase == 'completed'",
        "column 8: - subtracts; the step a-b is written steps[\"a-b\"]",
    ),
    (
        "steps.build-it-2.exitCode == 0",
        "column 15: - subtracts; the step build-it-2 is written steps[\"build-it-2\"]",
    ),
    (
        "step.a.phase == 'failed'",
        "column 1: there is no step; the names are steps, params, event, workflow, workplan",
    ),
    (
        "steps.a.output.v == '1'",
        "column 8: steps.a has no field output; its fields are phase, exitCode, outputs",
    ),
    (
        "steps.a.phase == 'Succeeded'",
        "column 18: steps.a.phase is never \"Succeeded\"; it is completed, failed, skipped",
    ),
    (
        "steps.a.phase in ['failed', 'done']",
        "column 29: steps.a.phase is never \"done\"; it is completed, failed, skipped",
    ),
    (
        "steps.a.exitCode == '0'",
        "column 18: == is not defined for an integer and a string; convert one of them with int(), double() or string()",
    ),
    (
        "steps.a.exitCode",
        "column 8: the condition is an integer, not a boolean; compare it, as in a == b",
    ),
    (
        "steps.a.outputs.v",
        "column 16: the condition is a string, not a boolean; compare it, as in a == b",
    ),
    (
        "steps.a.outputs",
        "column 8: the condition is a map, not a boolean; compare it, as in a == b",
    ),
    (
        "steps.exists(s, true)",
        "column 1: steps are named one by one: steps.a, or steps[\"a-b\"]",
    ),
    (
        "steps[params.x].phase == 'failed'",
        "column 1: steps are named one by one: steps.a, or steps[\"a-b\"]",
    ),
    (
        "steps == null",
        "column 1: steps are named one by one: steps.a, or steps[\"a-b\"]",
    ),
    (
        "steps.a.exitCode + 1.5 > 2.0",
        "column 18: + is not defined for an integer and a double; convert one of them with int() or double()",
    ),
    (
        "steps.a.outputs.n > 5",
        "column 19: > is not defined for a string and an integer; convert one of them with int(), double() or string()",
    ),
    (
        "steps.a.outputs.v && true",
        "column 16: && is not defined for a string; it takes booleans; compare, as in a == b",
    ),
    (
        "!steps.a.exitCode",
        "column 1: ! is not defined for an integer; it takes a boolean",
    ),
    (
        "-steps.a.phase == 'x'",
        "column 1: - is not defined for a string; it takes a number",
    ),
    (
        "steps.a.phase.size",
        "column 14: the field size is not defined for a string; only maps have fields",
    ),
    (
        "[1, 2].contains(1)",
        "column 8: contains is not defined for a list; it is written a.contains(\"b\")",
    ),
    (
        "size(1) == 1",
        "column 1: size is not defined for an integer; it is written size(a)",
    ),
    (
        "1 in 2",
        "column 3: in is not defined for an integer and an integer; to the right of it is a list or a map",
    ),
    (
        "'a' in [1, 2]",
        "column 5: in is not defined for a string and a list; convert it to the type of the elements",
    ),
    (
        "{1: 2} == {}",
        "column 2: a key of a map is not defined for an integer; it is a string",
    ),
    (
        "params.x ? 1 : 2",
        "column 10: the condition is an integer, not a boolean; compare it, as in a == b",
    ),
    (
        "steps.a.exitCode ? true : false",
        "column 8: ? is not defined for an integer; it takes booleans; compare, as in a == b",
    ),
    (
        "5.all(x, x)",
        "column 3: all is not defined for an integer; it takes a list or a map",
    ),
    (
        "[1].all(x, x)",
        "column 12: all is not defined for an integer; it takes booleans; compare, as in a == b",
    ),
    (
        "[1].exists(x, y > x)",
        "column 15: there is no y; the names are steps, params, event, workflow, workplan",
    ),
    (
        "[1]['a'] == 1",
        "column 4: the field a is not defined for a list; only maps have fields",
    ),
    (
        "steps.a.outputs.v[0] == 'a'",
        "column 18: [] is not defined for a string and an integer; a list takes an integer, a map a string",
    ),
    (
        "int([1]) == 1",
        "column 1: int is not defined for a list; it is written int(a)",
    ),
    (
        "'a' + 1 == 'a1'",
        "column 5: + is not defined for a string and an integer; convert one of them with int(), double() or string()",
    ),
    (
        "1 < 'a'",
        "column 3: < is not defined for an integer and a string; convert one of them with int(), double() or string()",
    ),
    (
        "5.0 % 2.0 == 1.0",
        "column 5: % is not defined for a double and a double; it takes integers",
    ),
];

const EVALUATIONS: &[(&str, &str)] = &[
    (
        "params.a.matches(params.a + '(')",
        "params.a.matches(params.a + '('): column 10: the regular expression \"x(\" is wrong: found open group without \
         closing ')'",
    ),
    (
        "steps.a.outputs.image == \"x\"",
        "steps.a.outputs.image == \"x\": column 16: the step a has no output image; its outputs are digest, version",
    ),
    (
        "steps.a.outputs.missing == 'x'",
        "steps.a.outputs.missing == 'x': column 16: the step a has no output missing; its outputs are digest, version",
    ),
    (
        "steps[\"build-it\"].outputs.x == ''",
        "steps[\"build-it\"].outputs.x == '': column 26: the step build-it has no output x; it has none",
    ),
    (
        "steps.late.exitCode == 0",
        "steps.late.exitCode == 0: column 11: the step late has no exit code: it did not run, or was lost; test it with has()",
    ),
    (
        "steps.x.phase == 'failed'",
        "steps.x.phase == 'failed': column 6: the step x is not known here; add an edge to it",
    ),
    (
        "params.missing == 'x'",
        "params.missing == 'x': column 7: params has no missing; test it with has()",
    ),
    (
        "params['a-b'].c == 1",
        "params['a-b'].c == 1: column 7: params has no [\"a-b\"]; test it with has()",
    ),
    (
        "params.list[3] == 1",
        "params.list[3] == 1: column 12: the list has 3 elements, and no element 3",
    ),
    (
        "params.list[-1] == 1",
        "params.list[-1] == 1: column 12: the list has 3 elements, and no element -1",
    ),
    (
        "params.a > 1",
        "params.a > 1: column 10: > is not defined for \"x\" (a string) and 1 (an integer)",
    ),
    (
        "params.a + params.n == 'x'",
        "params.a + params.n == 'x': column 10: + is not defined for \"x\" (a string) and 3 (an integer)",
    ),
    (
        "params.n / 0 == 1",
        "params.n / 0 == 1: column 10: 3 / 0 divides by zero",
    ),
    (
        "9223372036854775807 + params.n > 0",
        "9223372036854775807 + params.n > 0: column 21: 9223372036854775807 + 3 exceeds an integer of 64 bits",
    ),
    (
        "params.a",
        "params.a: column 7: the condition is \"x\", not true or false",
    ),
    (
        "params.n && true",
        "params.n && true: column 10: && is not defined for 3 (an integer)",
    ),
    (
        "int(params.a) == 1",
        "int(params.a) == 1: column 1: \"x\" cannot be converted by int()",
    ),
    (
        "int(1e300) == 1",
        "int(1e300) == 1: column 1: 1e300 cannot be converted by int()",
    ),
    (
        "{'a': 1, 'a': 2} == {}",
        "{'a': 1, 'a': 2} == {}: column 10: the key \"a\" occurs twice",
    ),
    (
        "object.x == 1",
        "object.x == 1: column 1: there is no object here",
    ),
    (
        "params.list.all(x, params.texts.all(y, x == y + 1))",
        "params.list.all(x, params.texts.all(y, x == y + 1)): column 47: + is not defined for \"a\" (a string) and 1 (an integer)",
    ),
    (
        "params.a.b == 1",
        "params.a.b == 1: column 9: the field b is not defined for \"x\" (a string)",
    ),
    (
        "params.n.all(x, true)",
        "params.n.all(x, true): column 10: all is not defined for 3 (an integer)",
    ),
    (
        "[params.a].join(1) == ''",
        "[params.a].join(1) == '': column 12: join is not defined for [\"x\"] (a list) and 1 (an integer)",
    ),
];

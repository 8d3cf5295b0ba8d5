//! No text and no values make parsing, checking or evaluating panic, overflow the stack, or take long.

use std::time::{Duration, Instant};

use kubeci_expression::{BUDGET, Context, Expression, Limits, Problem, Syntax, Value};
use proptest::prelude::*;

use crate::generator::expressions;

/// Half of what a worker thread of the operators has.
const STACK: usize = 1 << 20;

/// Does everything that can be done with a text.
fn exercise(text: &str, context: &Context) {
    let _ = Value::parse(text);
    if let Ok(expression) = Expression::parse(text) {
        let _ = (expression.roots(), expression.steps());
        let _ = (
            expression.check_condition(&crate::scope()),
            expression.check_text(&crate::scope()),
        );
        let _ = (expression.holds(context), expression.to_text(context));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn evaluation_is_total(text in expressions()) {
        exercise(&text, &crate::context());
    }

    #[test]
    fn parsing_is_total(text in "\\PC{0,60}") {
        exercise(&text, &crate::context());
    }

    #[test]
    fn parsing_of_symbols_is_total(text in r#"[a-c0-9xeu.\[\](){}?:!&|=<>,+*/%'"\\ \n\r_éin-]{0,40}"#) {
        exercise(&text, &crate::context());
    }

    #[test]
    fn cut_expression_is_total(text in expressions(), cut in any::<prop::sample::Index>()) {
        let cut = text.floor_char_boundary(cut.index(text.len() + 1));
        exercise(&text[..cut], &crate::context());
        exercise(&text[cut..], &crate::context());
    }

    #[test]
    fn text_form_of_value_parses_back(value in values()) {
        prop_assert_eq!(Value::parse(&value.to_string()), Ok(value));
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        proptest::num::f64::NORMAL.prop_map(Value::Double),
        Just(Value::Double(f64::INFINITY)),
        any::<String>().prop_map(Value::Text),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            proptest::collection::btree_map(any::<String>(), inner, 0..5).prop_map(Value::Map),
        ]
    })
}

/// Texts that repeat something that nests, as long as is allowed.
fn nested() -> Vec<String> {
    let repeated = [
        ("", "(", ""),
        ("", "[", ""),
        ("", "{'a':", ""),
        ("", "!", "a"),
        ("", "-", "a"),
        ("a", ".b", ""),
        ("a", "[0]", ""),
        ("a", "['k']", ""),
        ("", "a?b:", "c"),
        ("", "a?", "b"),
        ("a", "+1", ""),
        ("a", "&&b", ""),
        ("", "size(", ""),
        ("a", ".trim()", ""),
        ("", "[1].all(x,", "true"),
        ("", "has(a.b)||", "c"),
        ("a", " in a", ""),
        ("", "(a+", "1"),
        ("", "[1,[", ""),
        ("'", "\\n", "'"),
        ("", "'a'+", "'b'"),
        ("", "//\n", "a"),
        ("", "a<", "1"),
    ];
    let longest = |(start, middle, end): (&str, &str, &str)| {
        let room = Limits::EXPRESSION.length - start.len() - end.len();
        [start, &middle.repeat(room / middle.len()), end].concat()
    };
    repeated.into_iter().map(longest).collect()
}

#[test]
fn nested_texts_fit_a_small_stack() {
    let exercise_all = || {
        let context = crate::context();
        for text in nested() {
            exercise(&text, &context);
            for depth in [10, 60, 64] {
                let closed = ["(".repeat(depth), "1".to_owned(), ")".repeat(depth)].concat();
                exercise(&closed, &context);
                let closed = [
                    "[1].map(x, ".repeat(depth),
                    "1".to_owned(),
                    ")".repeat(depth),
                ]
                .concat();
                exercise(&closed, &context);
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(STACK);
    thread.spawn(exercise_all).unwrap().join().unwrap();
}

#[test]
fn limits_are_errors_with_the_limit() {
    let problem = |text: &str| Expression::parse(text).unwrap_err().problem;
    let limits = Limits::EXPRESSION;
    assert_eq!(
        problem(&"a".repeat(5000)),
        Syntax::TooLong {
            length: 5000,
            limits
        }
    );
    assert_eq!(
        problem(&["[", &"1,".repeat(1500), "]"].concat()),
        Syntax::TooLarge(limits)
    );
    assert_eq!(
        problem(&["a", &".b".repeat(64)].concat()),
        Syntax::TooDeep(limits)
    );
    assert_eq!(
        problem(&["(".repeat(65), "a".to_owned(), ")".repeat(65)].concat()),
        Syntax::TooDeep(limits)
    );
}

#[test]
fn long_chains_of_conditions_are_allowed() {
    let chain = vec!["params.b"; 300].join(" && ");
    assert_eq!(
        Expression::parse(&chain).unwrap().holds(&crate::context()),
        Ok(true)
    );
}

/// Expressions that would take hours or gigabytes without a budget.
#[test]
fn cost_of_evaluation_is_bounded() {
    let items = Value::List((0..1000).map(Value::Int).collect());
    let text = Value::Text("a".repeat(100_000));
    let context = Context::new().with("items", items).with("text", text);
    let hostile = [
        "items.all(a, items.all(b, items.all(c, items.all(d, true))))",
        "items.map(a, items.map(b, items.map(c, items)))",
        "items.map(a, items)",
        "items.exists(a, items == items && false)",
        "items.exists(a, text + text == text)",
        "text.replace('a', text)",
        "text.replace('', text)",
        "text.split('').map(a, text)",
        "items.map(a, text).join(text)",
        "items.filter(a, text.contains('b') || text.split('') == [])",
        "items.exists(a, size(text) == 0)",
        "items.exists(a, text < text)",
        "items.exists(a, text.matches('(x+x+)+y'))",
        "items.exists(a, items.exists(b, 'a'.matches('(b{30}){10}' + 'c')))",
        "items.all(a, text in [text, text])",
    ];
    for text in hostile {
        let begin = Instant::now();
        let error = Expression::parse(text)
            .unwrap()
            .evaluate(&context)
            .unwrap_err();
        assert_eq!(error.problem, Problem::TooExpensive(BUDGET), "{text}");
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "{text}: {:?}",
            begin.elapsed()
        );
    }
}

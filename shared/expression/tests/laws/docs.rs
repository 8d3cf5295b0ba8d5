//! The page for users says what the code does.

use kubeci_expression::{BUDGET, Expression, Limits, Syntax};

const PAGE: &str = include_str!("../../../../docs/expressions.md");

/// The lines of the code blocks of the page.
fn blocks() -> Vec<Vec<&'static str>> {
    let blocks = PAGE.split("```").skip(1).step_by(2);
    blocks
        .map(|block| block.lines().skip(1).collect())
        .collect()
}

#[test]
fn examples_pass_the_check() {
    for text in &blocks()[0] {
        let expression = Expression::parse(text).unwrap();
        assert_eq!(expression.check_text(&crate::scope()), Ok(()), "{text}");
    }
}

#[test]
fn errors_of_the_page_occur() {
    for message in blocks()[1..=2].iter().flatten() {
        assert!(crate::mistakes::is_message(message), "{message}");
    }
}

#[test]
fn all_functions_are_on_the_page() {
    let Syntax::UnknownFunction { known, .. } = Expression::parse("f()").unwrap_err().problem
    else {
        panic!("f is no function");
    };
    for function in known.split(", ") {
        assert!(PAGE.contains(&format!("{function}(")), "{function}");
    }
}

#[test]
fn limits_are_on_the_page() {
    let limits = Limits::EXPRESSION;
    let budget = format!("{},000", BUDGET / 1000);
    for limit in [
        limits.length.to_string(),
        limits.nodes.to_string(),
        limits.depth.to_string(),
        budget,
    ] {
        assert!(PAGE.contains(&format!("| {limit}")), "{limit}");
    }
}

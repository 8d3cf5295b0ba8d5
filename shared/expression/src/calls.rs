use crate::error::Syntax;
use crate::functions::Function;
use crate::lexer::Located;
use crate::node::{Kind, Loop, LoopKind, Node};
use crate::pattern;
use crate::value::Value;

/// A call such as `size(a)`.
pub fn function(at: usize, name: &str, arguments: Vec<Node>) -> Result<Kind, Located> {
    if name == "has" {
        return has(at, arguments);
    }
    let function = find(at, name)?;
    let signature = function.signature();
    if !signature.global || arguments.len() != signature.parameters.len() {
        return Err(wrong_call(at, signature.name, signature.usage));
    }
    call(function, arguments)
}

/// A call such as `a.size()`, or a macro such as `a.all(x, x > 0)`.
pub fn method(
    at: usize,
    name: &str,
    target: Node,
    mut arguments: Vec<Node>,
) -> Result<Kind, Located> {
    if let Some(kind) = LoopKind::find(name) {
        return over(at, kind, target, arguments);
    }
    let function = find(at, name)?;
    let signature = function.signature();
    arguments.insert(0, target);
    if !signature.method || arguments.len() != signature.parameters.len() {
        return Err(wrong_call(at, signature.name, signature.usage));
    }
    call(function, arguments)
}

/// Checks a pattern that is known already.
fn call(function: Function, arguments: Vec<Node>) -> Result<Kind, Located> {
    if let (Function::Matches, [_, pattern]) = (function, arguments.as_slice())
        && let Kind::Literal(Value::Text(text)) = &pattern.kind
    {
        pattern::compile(text).map_err(|error| (pattern.at, Syntax::Pattern(error)))?;
    }
    Ok(Kind::Call {
        function,
        arguments,
    })
}

fn has(at: usize, mut arguments: Vec<Node>) -> Result<Kind, Located> {
    match (arguments.pop().map(|it| it.kind), arguments.pop()) {
        (Some(Kind::Field { of, field }), None) => Ok(Kind::Has { of, field }),
        _ => Err(wrong_call(at, "has", "has(a.b), or has(a[\"b-c\"])")),
    }
}

fn over(at: usize, kind: LoopKind, over: Node, arguments: Vec<Node>) -> Result<Kind, Located> {
    let usage = match kind {
        LoopKind::Map => "a.map(x, value), or a.map(x, condition, value), with any name x",
        _ => "a.all(x, condition) with any name x; exists, exists_one and filter like all",
    };
    let wrong = wrong_call(at, kind.name(), usage);
    let mut arguments = arguments.into_iter();
    let Some(Kind::Name(variable)) = arguments.next().map(|it| it.kind) else {
        return Err(wrong);
    };
    let (filter, body) = match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(body), None, None) => (None, body),
        (filter, Some(body), None) if kind == LoopKind::Map => (filter, body),
        _ => return Err(wrong),
    };
    Ok(Kind::Loop(Box::new(Loop {
        kind,
        over,
        variable,
        filter,
        body,
    })))
}

fn find(at: usize, name: &str) -> Result<Function, Located> {
    Function::find(name).ok_or_else(|| {
        let functions = Function::ALL.into_iter().map(|it| it.signature().name);
        let loops = LoopKind::ALL.into_iter().map(LoopKind::name);
        let known: Vec<_> = functions.chain(loops).chain(["has"]).collect();
        let (name, known) = (name.to_owned(), known.join(", "));
        (at, Syntax::UnknownFunction { name, known })
    })
}

fn wrong_call(at: usize, name: &'static str, usage: &'static str) -> Located {
    (at, Syntax::Call { name, usage })
}

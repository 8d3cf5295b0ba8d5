use crate::calls;
use crate::error::Syntax;
use crate::lexer::{Located, Token, tokens};
use crate::limits::Limits;
use crate::node::{Kind, Logic, Node};
use crate::operators::Operator;
use crate::value::Value;

/// Parses a text. The recursion is bounded by `limits.depth`.
pub fn parse(text: &str, limits: Limits) -> Result<Node, Located> {
    if text.len() > limits.length {
        let length = text.len();
        return Err((0, Syntax::TooLong { length, limits }));
    }
    let tokens = tokens(text)?;
    if tokens.len() == 1 {
        return Err((0, Syntax::Empty));
    }
    let mut parser = Parser {
        tokens: tokens.into_iter().peekable(),
        limits,
        nodes: 0,
        nesting: 0,
    };
    let node = parser.expression()?;
    match parser.next() {
        (_, Token::End) => Ok(node),
        found => Err(unexpected(&found, "an operator or the end")),
    }
}

/// Words that are no names in CEL.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

/// Words that are not even fields.
const KEYWORDS: [&str; 4] = ["false", "in", "null", "true"];

const A_VALUE: &str = "a value or a name";

type Parsed<T = Node> = Result<T, Located>;

struct Parser<'t> {
    tokens: std::iter::Peekable<std::vec::IntoIter<(usize, Token<'t>)>>,
    limits: Limits,
    nodes: usize,
    nesting: u8,
}

/// What binds two operands.
#[derive(Clone, Copy)]
enum Binds {
    Logic(Logic),
    Operator(Operator),
}

impl Binds {
    fn find(token: &Token<'_>) -> Option<Self> {
        let symbol = match token {
            Token::Symbol(symbol) => *symbol,
            Token::Name("in") => "in",
            _ => return None,
        };
        let logic = [Logic::And, Logic::Or].into_iter();
        let mut logic = logic.filter(|it| it.symbol() == symbol).map(Self::Logic);
        let operators = Operator::ALL.into_iter();
        let mut operators = operators
            .filter(|it| it.symbol() == symbol)
            .map(Self::Operator);
        logic.next().or_else(|| operators.next())
    }

    fn level(self) -> u8 {
        match self {
            Self::Logic(Logic::Or) => 0,
            Self::Logic(Logic::And) => 1,
            Self::Operator(operator) => operator.level(),
        }
    }
}

impl<'t> Parser<'t> {
    fn next(&mut self) -> (usize, Token<'t>) {
        self.tokens.next().unwrap_or((0, Token::End))
    }

    fn at(&mut self) -> usize {
        self.tokens.peek().map_or(0, |it| it.0)
    }

    fn peek(&mut self, symbol: &str) -> bool {
        matches!(self.tokens.peek(), Some((_, Token::Symbol(it))) if *it == symbol)
    }

    fn skip(&mut self, symbol: &str) -> bool {
        let found = self.peek(symbol);
        if found {
            self.next();
        }
        found
    }

    fn require(&mut self, symbol: &str, expected: &'static str) -> Parsed<()> {
        if self.skip(symbol) {
            return Ok(());
        }
        Err(unexpected(&self.next(), expected))
    }

    fn node(&mut self, at: usize, kind: Kind) -> Parsed {
        let mut depth = 0;
        kind.for_each_part(&mut |part| depth = depth.max(part.depth));
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            return Err((at, Syntax::TooLarge(self.limits)));
        }
        if depth >= self.limits.depth {
            return Err((at, Syntax::TooDeep(self.limits)));
        }
        let depth = depth + 1;
        Ok(Node { at, depth, kind })
    }

    fn expression(&mut self) -> Parsed {
        if self.nesting >= self.limits.depth {
            return Err((self.at(), Syntax::TooDeep(self.limits)));
        }
        self.nesting += 1;
        let node = self.conditional();
        self.nesting -= 1;
        node
    }

    fn conditional(&mut self) -> Parsed {
        let condition = self.binary(0)?;
        let at = self.at();
        if !self.skip("?") {
            return Ok(condition);
        }
        let then = self.binary(0)?;
        self.require(":", "':' and the value if the condition is false")?;
        let otherwise = self.expression()?;
        self.node(
            at,
            Kind::Conditional(Box::new([condition, then, otherwise])),
        )
    }

    /// Operands and the operators that bind at least as tightly as a level.
    fn binary(&mut self, level: u8) -> Parsed {
        let mut left = self.unary()?;
        while let Some((at, binds)) = self.peek_binds(level) {
            self.next();
            let right = self.binary(binds.level() + 1)?;
            left = match binds {
                Binds::Logic(logic) => self.logic(at, logic, left, right)?,
                Binds::Operator(operator) => {
                    let (left, right) = (Box::new(left), Box::new(right));
                    self.node(
                        at,
                        Kind::Binary {
                            operator,
                            left,
                            right,
                        },
                    )?
                }
            };
        }
        Ok(left)
    }

    fn peek_binds(&mut self, level: u8) -> Option<(usize, Binds)> {
        let (at, token) = self.tokens.peek()?;
        let binds = Binds::find(token).filter(|it| it.level() >= level)?;
        Some((*at, binds))
    }

    /// Puts `a && b && c` into one node, so that it is not deep.
    fn logic(&mut self, at: usize, logic: Logic, left: Node, right: Node) -> Parsed {
        let (at, mut terms) = match left.kind {
            Kind::Logic { logic: same, terms } if same == logic => (left.at, terms),
            kind => (at, vec![Node { kind, ..left }]),
        };
        terms.push(right);
        self.node(at, Kind::Logic { logic, terms })
    }

    /// A value with signs of one kind before it. The minus of a number is a part of the number.
    fn unary(&mut self) -> Parsed {
        let not = self.peek("!");
        let sign = if not { "!" } else { "-" };
        let mut signs = Vec::new();
        while self.peek(sign) {
            signs.push(self.at());
            self.next();
        }
        let at = self.at();
        let minus = match self.tokens.peek() {
            _ if not => self.skip("-").then_some(at),
            Some((_, Token::Int(_) | Token::Double(_))) => signs.pop(),
            _ => None,
        };
        let primary = match minus {
            Some(at) => self.negative(at)?,
            None => self.primary()?,
        };
        let mut operand = self.selections(primary)?;
        for at in signs.into_iter().rev() {
            let of = Box::new(operand);
            operand = self.node(at, if not { Kind::Not(of) } else { Kind::Negate(of) })?;
        }
        Ok(operand)
    }

    fn negative(&mut self, at: usize) -> Parsed {
        let value = match self.next() {
            (_, Token::Int(value)) => match 0_i64.checked_sub_unsigned(value) {
                Some(value) => Value::Int(value),
                None => return Err((at, Syntax::IntegerRange(format!("-{value}")))),
            },
            (_, Token::Double(value)) => Value::Double(-value),
            found => return Err(unexpected(&found, A_VALUE)),
        };
        self.node(at, Kind::Literal(value))
    }

    fn primary(&mut self) -> Parsed {
        let (at, token) = self.next();
        let kind = match token {
            Token::Int(value) => match i64::try_from(value) {
                Ok(value) => Kind::Literal(Value::Int(value)),
                Err(_) => return Err((at, Syntax::IntegerRange(value.to_string()))),
            },
            Token::Double(value) => Kind::Literal(Value::Double(value)),
            Token::Text(text) => Kind::Literal(Value::Text(text)),
            Token::Name("true") => Kind::Literal(Value::Bool(true)),
            Token::Name("false") => Kind::Literal(Value::Bool(false)),
            Token::Name("null") => Kind::Literal(Value::Null),
            Token::Name(name) if RESERVED.contains(&name) => {
                return Err((at, Syntax::Reserved(name.to_owned())));
            }
            Token::Name(name) if name != "in" => return self.name(at, name),
            Token::Symbol("(") => {
                let node = self.expression()?;
                self.require(")", "an operator or ')'")?;
                return Ok(node);
            }
            Token::Symbol("[") => Kind::List(self.list("]", "',' or ']'")?),
            Token::Symbol("{") => Kind::Map(self.entries()?),
            Token::Symbol(".") => {
                let (what, instead) = ("names that begin with a dot", "leave out the dot");
                return Err((at, Syntax::Unsupported { what, instead }));
            }
            token => return Err(unexpected(&(at, token), A_VALUE)),
        };
        self.node(at, kind)
    }

    fn name(&mut self, at: usize, name: &str) -> Parsed {
        if self.peek("{") {
            let (what, instead) = ("objects with a type", "write a map: {\"a\": b}");
            return Err((at, Syntax::Unsupported { what, instead }));
        }
        if !self.skip("(") {
            return self.node(at, Kind::Name(name.to_owned()));
        }
        let arguments = self.list(")", "',' or ')'")?;
        let kind = calls::function(at, name, arguments)?;
        self.node(at, kind)
    }

    /// Expressions with commas between, up to a closing symbol.
    fn list(&mut self, close: &str, expected: &'static str) -> Parsed<Vec<Node>> {
        let mut items = Vec::new();
        while !self.skip(close) {
            items.push(self.expression()?);
            if !self.skip(",") {
                self.require(close, expected)?;
                break;
            }
        }
        Ok(items)
    }

    fn entries(&mut self) -> Parsed<Vec<(Node, Node)>> {
        let mut entries = Vec::new();
        while !self.skip("}") {
            let key = self.expression()?;
            self.require(":", "':' and a value")?;
            entries.push((key, self.expression()?));
            if !self.skip(",") {
                self.require("}", "',' or '}'")?;
                break;
            }
        }
        Ok(entries)
    }

    /// What follows a value: fields, methods and indices.
    fn selections(&mut self, mut node: Node) -> Parsed {
        loop {
            let at = self.at();
            node = if self.skip(".") {
                self.selection(at, node)?
            } else if self.skip("[") {
                let index = self.expression()?;
                self.require("]", "an operator or ']'")?;
                self.index(at, node, index)?
            } else if let Some((at, Token::Double(value))) = self.tokens.peek() {
                // The `.2` of `steps.2-a`.
                return Err((*at, Syntax::Number(value.to_string())));
            } else {
                return Ok(node);
            };
        }
    }

    fn index(&mut self, at: usize, of: Node, index: Node) -> Parsed {
        let of = Box::new(of);
        let kind = match index.kind {
            Kind::Literal(Value::Text(field)) => Kind::Field { of, field },
            _ => Kind::Index {
                of,
                index: Box::new(index),
            },
        };
        self.node(at, kind)
    }

    fn selection(&mut self, at: usize, of: Node) -> Parsed {
        let (name_at, name) = match self.next() {
            (at, Token::Name(name)) if KEYWORDS.contains(&name) => {
                return Err((at, Syntax::Reserved(name.to_owned())));
            }
            (at, Token::Name(name)) => (at, name),
            found => return Err(unexpected(&found, "the name of a field or method")),
        };
        if !self.skip("(") {
            let (of, field) = (Box::new(of), name.to_owned());
            return self.node(at, Kind::Field { of, field });
        }
        let arguments = self.list(")", "',' or ')'")?;
        let kind = calls::method(name_at, name, of, arguments)?;
        self.node(name_at, kind)
    }
}

fn unexpected(found: &(usize, Token<'_>), expected: &'static str) -> Located {
    let (at, token) = found;
    let found = token.describe();
    (*at, Syntax::Unexpected { found, expected })
}

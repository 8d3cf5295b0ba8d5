//! Random expressions: mostly of the right type, so that they reach deep.

use proptest::prelude::*;

/// Chooses by the bytes of a random vector. Without bytes it chooses the first, which ends the expression.
pub struct Choices {
    bytes: std::vec::IntoIter<u8>,
    variables: Vec<&'static str>,
}

#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    Bool,
    Int,
    Double,
    Text,
    List,
    Map,
}

use Wanted::{Bool, Double, Int, List, Map, Text};

pub fn expressions() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<u8>(), 0..120).prop_map(|bytes| {
        let mut choices = Choices {
            bytes: bytes.into_iter(),
            variables: Vec::new(),
        };
        let wanted = choices.pick([Bool, Bool, Int, Text, List, Double, Map]);
        choices.expression(wanted, 5)
    })
}

impl Choices {
    fn pick<T: Copy, const N: usize>(&mut self, of: [T; N]) -> T {
        let byte = self.bytes.next().map_or(0, usize::from);
        of[byte % N]
    }

    fn expression(&mut self, wanted: Wanted, depth: u8) -> String {
        let wanted = match self.bytes.next() {
            // Sometimes the wrong type.
            Some(251..) => self.pick([Text, Int, Bool, List, Double, Map]),
            _ => wanted,
        };
        if depth == 0 {
            return self.leaf(wanted);
        }
        match self.bytes.next().map(|byte| byte % 8) {
            None | Some(0) => self.leaf(wanted),
            Some(1) => {
                let condition = self.expression(Bool, depth - 1);
                let [a, b] = self.pair(wanted, depth);
                format!("({condition} ? {a} : {b})")
            }
            Some(_) => self.operation(wanted, depth),
        }
    }

    fn pair(&mut self, wanted: Wanted, depth: u8) -> [String; 2] {
        [(); 2].map(|()| self.expression(wanted, depth - 1))
    }

    fn leaf(&mut self, wanted: Wanted) -> String {
        if let (Some(160..), Some(variable)) = (self.bytes.next(), self.variables.last()) {
            return (*variable).to_owned();
        }
        let leaf = match wanted {
            Bool => self.pick([
                "true",
                "false",
                "params.b",
                "has(params.a)",
                "has(steps.late.exitCode)",
                "params.no",
            ]),
            Int => self.pick([
                "0",
                "1",
                "-7",
                "params.n",
                "9223372036854775807",
                "steps.a.exitCode",
                "0x1f",
                "steps.late.exitCode",
            ]),
            Double => self.pick(["1.5", "0.0", "-2.5e3", "params.d", "1e300", ".5"]),
            Text => self.pick([
                "'x'",
                "''",
                "params.a",
                "\"a\\n\\u00e9\\\\\"",
                "r'\\d'",
                "steps.a.outputs.version",
                "steps.a.phase",
                "params.missing",
                "'''it's'''",
                "'10'",
                "'true'",
                "event",
                "'\\x41\\101\\U0001F600'",
                "'a,b,,c'",
            ]),
            List => self.pick([
                "[]",
                "[1, 2]",
                "params.list",
                "params.texts",
                "params.mixed",
                "['a', 'b']",
                "[1, 1.0, 'a']",
            ]),
            Map => self.pick([
                "{}",
                "{'a': 1}",
                "params.map",
                "params",
                "steps.a.outputs",
                "{'k': null, 'x': [1]}",
            ]),
        };
        leaf.to_owned()
    }

    fn operation(&mut self, wanted: Wanted, depth: u8) -> String {
        match wanted {
            Bool => self.condition(depth),
            Int => match self.bytes.next().map_or(0, |byte| byte % 8) {
                0 => format!("-({})", self.expression(Int, depth - 1)),
                1 => self.method(&[Text, List, Map], "size()", depth),
                2 => {
                    let of = self.pick([Int, Double, Text]);
                    format!("int({})", self.expression(of, depth - 1))
                }
                3 => {
                    let [list, index] = [
                        self.expression(List, depth - 1),
                        self.expression(Int, depth - 1),
                    ];
                    format!("{list}[{index}]")
                }
                4 => format!("size({})", self.expression(Text, depth - 1)),
                _ => self.infix(Int, &["+", "-", "*", "/", "%"], depth),
            },
            Double => match self.bytes.next().map_or(0, |byte| byte % 3) {
                0 => format!("double({})", self.expression(Int, depth - 1)),
                _ => self.infix(Double, &["+", "-", "*", "/"], depth),
            },
            Text => match self.bytes.next().map_or(0, |byte| byte % 6) {
                0 => {
                    let of = self.pick([Int, Text, Bool]);
                    format!("string({})", self.expression(of, depth - 1))
                }
                1 => self.method(&[Text], "lowerAscii()", depth),
                2 => self.method(&[Text], "trim()", depth),
                3 => {
                    let [text, from] = self.pair(Text, depth);
                    format!("{text}.replace({from}, 'y')")
                }
                _ => self.infix(Text, &["+"], depth),
            },
            List => match self.bytes.next().map_or(0, |byte| byte % 5) {
                0 => {
                    let [a, b] = [
                        self.expression(Int, depth - 1),
                        self.expression(Text, depth - 1),
                    ];
                    format!("[{a}, {b}]")
                }
                1 => self.over(List, "map", Text, depth),
                2 => self.over(List, "filter", Bool, depth),
                3 => self.method(&[Text], "split(',')", depth),
                _ => self.infix(List, &["+"], depth),
            },
            Map => {
                let [a, b] = [
                    self.expression(Text, depth - 1),
                    self.expression(Int, depth - 1),
                ];
                format!("{{{a}: {b}, 'z': 0}}")
            }
        }
    }

    fn condition(&mut self, depth: u8) -> String {
        match self.bytes.next().map_or(0, |byte| byte % 11) {
            0 => format!("!({})", self.expression(Bool, depth - 1)),
            1 | 2 => self.infix(Bool, &["&&", "||"], depth),
            3 => {
                let of = self.pick([Int, Text, Double, Bool, List, Map]);
                self.infix(of, &["==", "!="], depth)
            }
            4 => {
                let of = self.pick([Int, Text, Double, Bool]);
                self.infix(of, &["<", "<=", ">", ">="], depth)
            }
            5 => {
                let [a, b] = [
                    self.expression(Int, depth - 1),
                    self.expression(Double, depth - 1),
                ];
                let operator = self.pick(["<", "==", ">=", "!="]);
                format!("({a} {operator} {b})")
            }
            6 => {
                let [item, of] = [
                    self.expression(Text, depth - 1),
                    self.expression(List, depth - 1),
                ];
                format!("({item} in {of})")
            }
            7 => {
                let kind = self.pick(["all", "exists", "exists_one"]);
                let of = self.pick([List, List, Map]);
                self.over(of, kind, Bool, depth)
            }
            8 => {
                let [text, part] = self.pair(Text, depth);
                let method = self.pick(["contains", "startsWith", "endsWith"]);
                format!("{text}.{method}({part})")
            }
            9 => {
                let pattern = self.pick(["'x'", "'^[a-z]+$'", r"r'\d\.?'", "params.a", "params.n"]);
                let text = self.expression(Text, depth - 1);
                format!("{text}.matches({pattern})")
            }
            _ => format!("('k' in {})", self.expression(Map, depth - 1)),
        }
    }

    fn method(&mut self, targets: &[Wanted], call: &str, depth: u8) -> String {
        let byte = self.bytes.next().map_or(0, usize::from);
        let target = self.expression(targets[byte % targets.len()], depth - 1);
        format!("{target}.{call}")
    }

    fn infix(&mut self, wanted: Wanted, operators: &[&str], depth: u8) -> String {
        let byte = self.bytes.next().map_or(0, usize::from);
        let [a, b] = self.pair(wanted, depth);
        format!("({a} {} {b})", operators[byte % operators.len()])
    }

    fn over(&mut self, over: Wanted, kind: &str, body: Wanted, depth: u8) -> String {
        let over = self.expression(over, depth - 1);
        let variable = self.pick(["v", "w", "params"]);
        self.variables.push(variable);
        let body = self.expression(body, depth - 1);
        self.variables.pop();
        format!("{over}.{kind}({variable}, {body})")
    }
}

//! Rust sources without their tests, and the string literals in them.

use std::path::{Path, PathBuf};

/// Folders that hold no code of a program.
const NOT_PROGRAMS: [&str; 5] = ["target", "testing", "bench", "tests", "benches"];

/// A source file without its test modules.
pub struct Source {
    /// Relative to the repository.
    pub path: String,
    pub text: String,
}

pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .canonicalize()
        .unwrap()
}

/// The sources of all programs and shared crates.
pub fn all() -> Vec<Source> {
    let files = files(&root(), "rs");
    let tests: Vec<PathBuf> = files.iter().flat_map(|path| test_modules(path)).collect();
    let is_test = |path: &Path| {
        tests
            .iter()
            .any(|test| path.starts_with(test) || path == test.with_extension("rs"))
    };
    let is_program = |path: &&PathBuf| path.components().any(|part| part.as_os_str() == "src");
    let programs = files
        .iter()
        .filter(is_program)
        .filter(|path| !is_test(path));
    let sources: Vec<Source> = programs.map(|path| Source::of(path)).collect();
    assert!(
        sources.len() > 50,
        "the sources are not where they are looked for"
    );
    sources
}

/// The names of all functions, those of tests included.
pub fn functions() -> Vec<String> {
    let all = files_but(&root(), "rs", &["target"]);
    let names = all.iter().flat_map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        let names = text.split("fn ").skip(1).map(|rest| {
            let end = rest.find(|char: char| !char.is_alphanumeric() && char != '_');
            rest[..end.unwrap_or(rest.len())].to_owned()
        });
        names.collect::<Vec<_>>()
    });
    names.collect()
}

/// All files with this extension below a folder, those of tests excluded.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    files_but(folder, extension, &NOT_PROGRAMS)
}

fn files_but(folder: &Path, extension: &str, excluded: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let hidden = name.starts_with('.');
            if !hidden && !excluded.contains(&name.as_str()) {
                found.extend(files_but(&path, extension, excluded));
            }
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The modules that a file declares for tests only, as paths without an extension.
fn test_modules(path: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(path).unwrap();
    let stem = path.file_stem().unwrap().to_string_lossy();
    let folder = match &*stem {
        "mod" | "lib" | "main" => path.parent().unwrap().to_owned(),
        _ => path.with_extension(""),
    };
    let mut is_test = false;
    let mut modules = Vec::new();
    for line in text.lines().map(str::trim) {
        let name = line
            .rsplit_once("mod ")
            .and_then(|(_, rest)| rest.strip_suffix(';'));
        if let Some(name) = name.filter(|_| is_test) {
            modules.push(folder.join(name));
        }
        is_test = line == "#[cfg(test)]" || (is_test && line.starts_with("#["));
    }
    modules
}

impl Source {
    pub fn read(path: &str) -> Self {
        Self::of(&root().join(path))
    }

    fn of(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        Self {
            path: path.strip_prefix(root()).unwrap().display().to_string(),
            text: without_tests(&text),
        }
    }

    /// The string literals, each with its line; not those in comments.
    pub fn literals(&self) -> Vec<(usize, String)> {
        let mut literals = Vec::new();
        let mut at = 0;
        let text = self.text.as_bytes();
        let starts = |at: usize, word: &str| text[at..].starts_with(word.as_bytes());
        let until = |from: usize, word: &str| {
            let found = self.text.as_bytes()[from..]
                .windows(word.len())
                .position(|it| it == word.as_bytes());
            found.map_or(text.len(), |found| from + found)
        };
        while at < text.len() {
            let is_word = at > 0 && (text[at - 1].is_ascii_alphanumeric() || text[at - 1] == b'_');
            if starts(at, "//") {
                at = until(at, "\n");
            } else if starts(at, "/*") {
                at = until(at, "*/") + 2;
            } else if starts(at, "'\"'") || starts(at, "'\\\"'") {
                at = until(at + 2, "'") + 1;
            } else if !is_word && (starts(at, "r\"") || starts(at, "r#")) {
                let hashes = text[at + 1..]
                    .iter()
                    .take_while(|byte| **byte == b'#')
                    .count();
                let start = at + hashes + 2;
                let end = until(start, &format!("\"{}", "#".repeat(hashes)));
                literals.extend(self.literal(start, end));
                at = end + hashes + 1;
            } else if text[at] == b'"' {
                let start = at + 1;
                let mut end = start;
                while end < text.len() && text[end] != b'"' {
                    end += if text[end] == b'\\' { 2 } else { 1 };
                }
                literals.extend(self.literal(start, end));
                at = end + 1;
            } else {
                at += 1;
            }
        }
        literals
    }

    fn literal(&self, start: usize, end: usize) -> Option<(usize, String)> {
        let text = self.text.get(start..end)?;
        let line = 1 + self.text[..start].matches('\n').count();
        Some((line, text.to_owned()))
    }

    /// The variants of enums such as `enum Reason` and `enum StepReason`.
    pub fn reasons(&self) -> Vec<(usize, String)> {
        let mut in_reasons = false;
        let mut variants = Vec::new();
        for (at, line) in self.text.lines().enumerate() {
            let is_enum = |line: &str| {
                line.split("enum ")
                    .nth(1)
                    .is_some_and(|it| it.contains("Reason"))
            };
            in_reasons = (in_reasons && line != "}") || is_enum(line);
            let variant = line
                .strip_prefix("    ")
                .filter(|line| in_reasons && !line.starts_with(' '));
            let name = variant.map(|line| {
                line.split(['(', '{', ','])
                    .next()
                    .unwrap_or_default()
                    .trim()
            });
            let is_name = |name: &&str| {
                name.starts_with(|first: char| first.is_ascii_uppercase())
                    && name.chars().all(char::is_alphanumeric)
            };
            variants.extend(name.filter(is_name).map(|name| (at + 1, name.to_owned())));
        }
        variants
    }

    /// The names of the metric families that are registered, without prefix and suffixes.
    pub fn registered_metrics(&self) -> Vec<(usize, String)> {
        let calls = [".register(", ".register_with_unit(", ".encode_descriptor("];
        let starts = calls.iter().flat_map(|call| self.text.match_indices(call));
        let names = starts.filter_map(|(at, call)| {
            let rest = self.text[at + call.len()..]
                .trim_start()
                .strip_prefix('"')?;
            let line = 1 + self.text[..at].matches('\n').count();
            let in_comment = self
                .text
                .lines()
                .nth(line - 1)?
                .trim_start()
                .starts_with("//");
            (!in_comment).then(|| (line, rest.split('"').next().unwrap_or_default().to_owned()))
        });
        names.collect()
    }
}

/// Test modules stand at the end of a file.
fn without_tests(text: &str) -> String {
    let mut kept = text;
    for (at, attribute) in text.match_indices("#[cfg(test)]\n") {
        let rest = &text[at + attribute.len()..];
        let module = rest
            .lines()
            .find(|line| !line.trim_start().starts_with("#["));
        if module.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{')) {
            kept = &text[..at];
            break;
        }
    }
    kept.to_owned()
}

#[test]
fn literals_are_found_outside_comments() {
    let source = Source {
        path: String::new(),
        text: "a(\"One\"); // \"Two\"\nb('\"', r#\"Three \"quoted\"\"#, \"Four \\\" five\") /* \"Six\" */".to_owned(),
    };
    let literals = [(1, "One"), (2, "Three \"quoted\""), (2, "Four \\\" five")];
    assert_eq!(
        source.literals(),
        literals.map(|(line, text)| (line, text.to_owned()))
    );
}

#[test]
fn variants_of_reasons_are_found() {
    let text = "pub enum StepReason {\n    /// Text.\n    TimedOut,\n    Lost(String),\n}\nenum Other {\n    Left,\n}\n";
    let source = Source {
        path: String::new(),
        text: text.to_owned(),
    };
    assert_eq!(
        source.reasons(),
        [(3, "TimedOut".to_owned()), (4, "Lost".to_owned())]
    );
}

#[test]
fn tests_are_no_part_of_a_source() {
    let text = "fn a() {}\n#[cfg(test)]\nmod cases;\nfn b() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    \"Name\"\n}\n";
    assert_eq!(
        without_tests(text),
        "fn a() {}\n#[cfg(test)]\nmod cases;\nfn b() {}\n"
    );
}

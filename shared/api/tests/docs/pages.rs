//! Markdown pages: the names in them, their tables and links.

use std::path::Path;

use crate::source::{files, root};

pub struct Page {
    /// Relative to the repository.
    pub path: String,
    text: String,
}

/// All Markdown of the repository.
pub fn all() -> Vec<Page> {
    files(&root(), "md")
        .iter()
        .map(|path| Page::of(path))
        .collect()
}

impl Page {
    /// A page of `docs/`.
    pub fn read(name: &str) -> Self {
        Self::of(&root().join("docs").join(name))
    }

    fn of(path: &Path) -> Self {
        Self {
            text: std::fs::read_to_string(path).unwrap(),
            path: path.strip_prefix(root()).unwrap().display().to_string(),
        }
    }

    /// Whether the page has this name as code, alone or with what belongs to it, as in `--flag=value`.
    pub fn has(&self, name: &str) -> bool {
        self.code().iter().any(|(_, code)| {
            code.strip_prefix(name).is_some_and(|rest| {
                !rest.starts_with(|next: char| next.is_alphanumeric() || "-_/".contains(next))
            })
        })
    }

    /// All inline code, each with its line.
    pub fn code(&self) -> Vec<(usize, String)> {
        let code = self.lines_of_text().into_iter().flat_map(|(line, text)| {
            let parts = text.split('`').skip(1).step_by(2);
            parts
                .map(|code| (line, code.to_owned()))
                .collect::<Vec<_>>()
        });
        code.collect()
    }

    /// The names that lists define below the headings that are meant: those before the colon of an item such as
    /// "- `Name`, `Other` (true): meaning".
    pub fn entries(&self, is_meant: impl Fn(&str) -> bool) -> Vec<(usize, String)> {
        let mut is_below = false;
        let mut items: Vec<(usize, String)> = Vec::new();
        for (line, text) in self.lines_of_text() {
            if text.starts_with('#') {
                is_below = is_meant(&text);
            } else if is_below && text.trim_start().starts_with("- ") {
                items.push((line, text.trim_start().to_owned()));
            } else if let Some((_, item)) = items.last_mut().filter(|_| text.starts_with("  ")) {
                item.push(' ');
                item.push_str(text.trim_start());
            }
        }
        let defining = items.iter().filter(|(_, item)| item.starts_with("- `"));
        let names = defining.flat_map(|(line, item)| {
            let ends = ["`: ", "` ("].iter().filter_map(|end| item.find(end));
            let defined = &item[..ends.min().unwrap_or_default()];
            let names = defined.split('`').skip(1).step_by(2);
            names
                .map(|name| (*line, name.to_owned()))
                .collect::<Vec<_>>()
        });
        let names: Vec<(usize, String)> = names.collect();
        assert!(
            !names.is_empty(),
            "{}: no names below these headings",
            self.path
        );
        names
    }

    /// All lines, those in blocks of code too.
    pub fn lines(&self) -> Vec<(usize, String)> {
        let lines = self.text.lines().enumerate();
        lines.map(|(at, line)| (at + 1, line.to_owned())).collect()
    }

    /// The lines outside blocks of code.
    pub fn lines_of_text(&self) -> Vec<(usize, String)> {
        let mut in_block = false;
        let mut lines = Vec::new();
        for (at, line) in self.text.lines().enumerate() {
            let is_fence = line.trim_start().starts_with("```");
            in_block ^= is_fence;
            if !in_block && !is_fence {
                lines.push((at + 1, line.to_owned()));
            }
        }
        lines
    }

    /// Links to files and headings of the repository that lead nowhere.
    pub fn broken_links(&self) -> Vec<String> {
        let folder = root().join(&self.path).parent().unwrap().to_owned();
        let mut broken = Vec::new();
        for (line, text) in self.lines_of_text() {
            for link in text
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next())
            {
                if link.contains("://") {
                    continue;
                }
                let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = if file.is_empty() {
                    root().join(&self.path)
                } else {
                    folder.join(file)
                };
                let leads = target.exists()
                    && (anchor.is_empty() || Self::anchors(&target).contains(&anchor.to_owned()));
                if !leads {
                    broken.push(format!("{}:{line}: {link}", self.path));
                }
            }
        }
        broken
    }

    /// The anchors of a page's headings, as GitHub makes them.
    fn anchors(path: &Path) -> Vec<String> {
        let page = Self::of(&path.canonicalize().unwrap());
        let headings = page
            .lines_of_text()
            .into_iter()
            .filter(|(_, text)| text.starts_with('#'));
        let anchor = |(_, text): (usize, String)| {
            let text = text.trim_start_matches('#').trim().to_lowercase();
            let kept = text
                .chars()
                .filter(|char| char.is_alphanumeric() || " -_".contains(*char));
            kept.collect::<String>().replace(' ', "-")
        };
        headings.map(anchor).collect()
    }
}

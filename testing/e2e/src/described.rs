use kube::ResourceExt;
use kubeci_api::Workplan;
use regex_lite::Regex;

use crate::{Test, eventually, kubectl};

/// In Events about a slow cluster: a kubelet that has not received an object yet, a node that was not ready.
const OF_CLUSTER: [&str; 2] = ["failed to sync", "NodeNotReady"];

/// Columns with times.
const TIMES: [&str; 4] = ["AGE", "STARTED", "FINISHED", "Age"];

impl Test {
    /// What `kubectl` prints about a Workplan, once `kubectl describe` prints all `words`: both forms of
    /// `kubectl get`, then `kubectl describe`. What differs between runs is replaced.
    pub async fn described(&self, plan: &Workplan, words: &[&str]) -> String {
        let name = plan.name_any();
        let describe = ["describe", "workplan", &name];
        let described = eventually(&format!("kubectl prints {words:?}"), async || {
            let text = self.kubectl(&describe).await?;
            let has_all = words.iter().all(|word| text.contains(word));
            if has_all { Ok(text) } else { Err(text) }
        })
        .await;
        let get = self.printed(&["get", "workplan", &name]).await;
        let wide = ["get", "workplan", &name, "--output=wide"];
        let wide = self.printed(&wide).await;
        let steady = Steady::new(self, plan);
        let printed = [
            "$ kubectl get workplan NAME".to_owned(),
            steady.table(get.lines(), "", "   "),
            "\n$ kubectl get workplan NAME -o wide".to_owned(),
            steady.table(wide.lines(), "", "   "),
            "\n$ kubectl describe workplan NAME".to_owned(),
            steady.description(&described),
        ];
        let printed = printed.join("\n");
        let lines = printed.lines().map(str::trim_end);
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What `kubectl` prints, once it reaches the API server.
    async fn printed(&self, arguments: &[&str]) -> String {
        let what = format!("kubectl {arguments:?}");
        eventually(&what, async || self.kubectl(arguments).await).await
    }

    async fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let namespace = format!("--namespace={}", self.namespace);
        kubectl(&[&[namespace.as_str()], arguments].concat(), "").await
    }
}

/// Replaces what differs between runs.
struct Steady {
    names: Vec<(String, &'static str)>,
    patterns: Vec<(Regex, &'static str)>,
}

impl Steady {
    fn new(test: &Test, plan: &Workplan) -> Self {
        let name = plan.name_any();
        let hash = plan.spec.trigger.as_ref().and(name.rsplit_once('-'));
        let node = plan.status.as_ref().and_then(|it| it.node.clone());
        let names = [
            Some((test.namespace.clone(), "NAMESPACE")),
            hash.map(|(_, hash)| (hash.to_owned(), "HASH")),
            node.map(|node| (node, "NODE")),
        ];
        let patterns = [
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
            (r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", "UID"),
            (r"(Resource Version: +)\d+", "${1}VERSION"),
            (r"(Token: +)\S+", "${1}TOKEN"),
            (r"\b0/\d+ nodes", "0/N nodes"),
            (r"\b\d+ (Insufficient|No preemption)", "N $1"),
        ];
        Self {
            names: names.into_iter().flatten().collect(),
            patterns: patterns
                .map(|(pattern, to)| (Regex::new(pattern).expect("a pattern"), to))
                .into(),
        }
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, to) in &self.names {
            text = text.replace(name, to);
        }
        for (pattern, to) in &self.patterns {
            text = pattern.replace_all(&text, *to).into_owned();
        }
        text
    }

    /// The output of `kubectl describe`. Its last part is a table of Events.
    fn description(&self, text: &str) -> String {
        let (object, events) = text.split_once("\nEvents:").expect("Events");
        let events = events.lines().skip(1).filter(|line| {
            let is_of_cluster = OF_CLUSTER.iter().any(|text| line.contains(text));
            !is_of_cluster && !line.starts_with("  ----")
        });
        let table = self.table(events, "  ", "  ");
        let is_empty = table.lines().count() < 2;
        let events = if is_empty { "  <none>" } else { &table };
        format!("{}\nEvents:\n{events}", self.text(object))
    }

    /// Aligns the columns of a table again, whose first line has the headings.
    fn table<'a>(
        &self,
        lines: impl IntoIterator<Item = &'a str>,
        indent: &str,
        between: &str,
    ) -> String {
        let mut lines = lines.into_iter().peekable();
        let headings = lines.peek().copied().unwrap_or_default();
        let starts = starts(headings);
        let rows: Vec<Vec<String>> = lines
            .map(|line| self.row(&starts, headings, line))
            .collect();
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..starts.len()).map(width).collect();
        let aligned = rows.iter().map(|row| {
            let cells = row.iter().zip(&widths);
            let cells = cells.map(|(cell, width)| format!("{cell:width$}"));
            format!("{indent}{}", cells.collect::<Vec<_>>().join(between))
        });
        aligned.collect::<Vec<_>>().join("\n")
    }

    fn row(&self, starts: &[usize], headings: &str, line: &str) -> Vec<String> {
        let cells = cells(starts, line).into_iter().zip(cells(starts, headings));
        let steady = cells.map(|(cell, heading)| {
            let is_time = TIMES.contains(&heading.as_str()) && cell != heading;
            if is_time && !cell.is_empty() {
                "TIME".to_owned()
            } else {
                self.text(&cell)
            }
        });
        steady.collect()
    }
}

/// Where the columns start: at their headings, which are single words.
fn starts(headings: &str) -> Vec<usize> {
    let characters: Vec<char> = headings.chars().collect();
    let is_start = |at: &usize| characters[*at] != ' ' && (*at == 0 || characters[*at - 1] == ' ');
    (0..characters.len()).filter(is_start).collect()
}

fn cells(starts: &[usize], line: &str) -> Vec<String> {
    let characters: Vec<char> = line.chars().collect();
    let ends = starts.iter().skip(1).copied().chain([usize::MAX]);
    let columns = starts.iter().zip(ends).map(|(start, end)| {
        let end = end.min(characters.len());
        let cell: String = characters
            .get(*start..end)
            .unwrap_or_default()
            .iter()
            .collect();
        cell.trim().to_owned()
    });
    columns.collect()
}

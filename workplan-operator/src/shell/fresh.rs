//! What was just written, until the watch shows it: a Workplan is never decided upon twice from the same
//! old state.

use std::sync::Arc;

use kube::ResourceExt;
use kubeci_api::Workplan;

use super::by_workplan::ByWorkplan;

#[derive(Default)]
pub struct Fresh(ByWorkplan<Written>);

struct Written {
    workplan: Arc<Workplan>,
    /// The resource versions that it replaced, one after the other.
    replaced: Vec<String>,
}

impl Fresh {
    /// The newer of what the watch shows and what was written.
    pub fn newest(&self, watched: Arc<Workplan>) -> Arc<Workplan> {
        let (Some(uid), Some(version)) = (watched.uid(), watched.resource_version()) else {
            return watched;
        };
        let mut all = self.0.all();
        match all.get(&uid) {
            Some(written) if written.replaced.contains(&version) => Arc::clone(&written.workplan),
            _ => {
                all.remove(&uid);
                watched
            }
        }
    }

    /// Takes note that `written` replaced `before`.
    pub fn wrote(&self, before: &Workplan, written: Arc<Workplan>) {
        let (Some(uid), Some(version)) = (before.uid(), before.resource_version()) else {
            return;
        };
        let mut all = self.0.all();
        let entry = all.entry(uid).or_insert_with(|| Written {
            workplan: Arc::clone(&written),
            replaced: Vec::new(),
        });
        entry.workplan = written;
        entry.replaced.push(version);
    }

    pub fn forget(&self, uid: &str) {
        self.0.forget(uid);
    }
}

#[cfg(test)]
mod tests {
    use kubeci_api::Order;

    use super::*;
    use crate::testing::workplan;

    fn version(version: &str) -> Arc<Workplan> {
        let mut workplan = workplan(Order::Linear, &["a"]);
        workplan.metadata.resource_version = Some(version.into());
        Arc::new(workplan)
    }

    #[test]
    fn what_was_written_counts_until_the_watch_shows_something_newer() {
        let fresh = Fresh::default();
        let seen = |watched: &str| fresh.newest(version(watched)).resource_version().unwrap();
        assert_eq!(seen("1"), "1");
        fresh.wrote(&version("1"), version("2"));
        fresh.wrote(&version("2"), version("3"));
        assert_eq!(seen("1"), "3");
        assert_eq!(seen("2"), "3");
        assert_eq!(seen("3"), "3");
        assert_eq!(seen("1"), "1", "forgotten once it was shown");
    }
}

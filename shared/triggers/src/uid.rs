//! Uids of objects.

use std::{collections::HashSet, sync::Arc};

/// The uid of an object.
pub type Uid = Arc<str>;

/// A set of uids.
pub type Uids = HashSet<Uid>;

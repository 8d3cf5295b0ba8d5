use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};

use crate::lock;
use crate::record::{MAX_BYTES, Record};
use crate::relay::Relay;
use crate::trouble::Trouble;

/// The step's record in the relay, locked until it says how the step ended, or the runner dies.
pub struct Published(File);

impl Published {
    /// Says that the step's container is up. The record appears locked: before, nobody else can lock it.
    pub fn come_up(relay: &Relay<'_>, step: &str, record: &Record) -> Result<Self, Trouble> {
        relay.check_wiring(step)?;
        let (path, new) = (relay.record(step), relay.folder(step).join("record.new"));
        let file = File::create_new(&new).map_err(Trouble::io("create", &new))?;
        lock::exclusive(&file).map_err(Trouble::io("lock", &new))?;
        let readable = Permissions::from_mode(0o644);
        file.set_permissions(readable)
            .map_err(Trouble::io("set the mode of", &new))?;
        write(&file, record).map_err(Trouble::io("write", &new))?;
        fs::rename(&new, &path).map_err(Trouble::io("create", path))?;
        remove_mark(relay, step)?;
        Ok(Self(file))
    }

    /// Says how the step ended, to all who wait for it.
    pub fn end(self, record: &Record) -> io::Result<()> {
        write(&self.0, record)
    }
}

/// Tells those who wait for a step that its container is up. Without a record, they take it as failed.
pub fn remove_mark(relay: &Relay<'_>, step: &str) -> Result<(), Trouble> {
    let mark = relay.own_mark(step);
    fs::remove_file(&mark).map_err(Trouble::io("remove", mark))
}

/// Writes all that a record may ever take, so that a full disk cannot get between a step and its end.
fn write(file: &File, record: &Record) -> io::Result<()> {
    let mut block = record.to_string();
    block.truncate(block.floor_char_boundary(MAX_BYTES));
    let room = MAX_BYTES - block.len();
    block.extend(std::iter::repeat_n(' ', room));
    file.write_all_at(block.as_bytes(), 0)
}

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::thread;

use crate::error::Error;
use crate::lock;
use crate::record::{MAX_BYTES, Record};
use crate::relay::Relay;

/// The step's record in the relay, locked until the end is written or the runner has ended.
pub struct Published(File);

impl Published {
    /// Publishes the record. It is locked before it appears, so no other process can lock it first.
    pub fn new(relay: &Relay<'_>, step: &str, record: &Record) -> Result<Self, Error> {
        relay.check_wiring(step)?;
        let (path, new) = (relay.record(step), relay.folder(step).join("record.new"));
        let file = File::create_new(&new).map_err(Error::io("create", &new))?;
        lock::exclusive(&file).map_err(Error::io("lock", &new))?;
        let readable = Permissions::from_mode(0o644);
        file.set_permissions(readable)
            .map_err(Error::io("set the mode of", &new))?;
        write(&file, record).map_err(Error::io("write", &new))?;
        fs::rename(&new, &path).map_err(Error::io("create", path))?;
        remove_mark(relay, step)?;
        Ok(Self(file))
    }

    /// Writes how the step ended, and releases the lock. What waited for it runs first where processors are short.
    pub fn end(self, record: &Record) -> io::Result<()> {
        let written = write(&self.0, record);
        drop(self);
        thread::yield_now();
        written
    }
}

/// Shows the other steps that the step's container is up. Without a record they treat the step as failed.
pub fn remove_mark(relay: &Relay<'_>, step: &str) -> Result<(), Error> {
    let mark = relay.own_mark(step);
    fs::remove_file(&mark).map_err(Error::io("remove", mark))
}

/// Writes as many bytes as a record can ever have, so that the end can be written also when the disk is full.
fn write(file: &File, record: &Record) -> io::Result<()> {
    let mut block = record.to_string();
    block.truncate(block.floor_char_boundary(MAX_BYTES));
    let room = MAX_BYTES - block.len();
    block.extend(std::iter::repeat_n(' ', room));
    file.write_all_at(block.as_bytes(), 0)
}

//! The swap device: a real file written in place (direct I/O where the file system has it), or a modelled one without
//! bytes, with I/O errors and short writes injected by write or read number.
//!
//! Writes are asynchronous: [`Device::submit`] queues a folio, the device actor writes it and fires `end_writeback` or,
//! on failure, `redirty`. Reads are done by the actor that faults.

use crate::snapshot::{Reader, Saved, Snapshot, push_indices};
use crate::sync::{AtomicU64, Mutex, Ordering};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why the device failed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The file cannot be made.
    #[error("swap file {path}: {source}")]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file system has no room for it.
    #[error("swap file {path}: no room for {bytes} bytes ({source}); choose a larger file system")]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// What the system said.
        source: io::Error,
    },
    /// A write or read failed.
    #[error("device: {operation} of slot {slot} failed: {source}")]
    Io {
        /// "write" or "read".
        operation: &'static str,
        /// The slot.
        slot: u32,
        /// What the system said.
        source: io::Error,
    },
    /// A write took less than the page: as bad as none (the kernel's sio_write_complete() redirties such a folio).
    #[error("device: write of slot {slot} was short: {wrote} of {want} bytes")]
    Short {
        /// The slot.
        slot: u32,
        /// Bytes written.
        wrote: usize,
        /// Bytes of the page.
        want: usize,
    },
}

/// Which operations fail, by number from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoFaults {
    /// Writes that fail.
    pub writes: Vec<u64>,
    /// Writes that stop half way.
    pub short_writes: Vec<u64>,
    /// Reads that fail.
    pub reads: Vec<u64>,
}

/// What holds the bytes.
#[derive(Debug)]
pub enum Backing {
    /// Nothing: the accounting runs, contents come from the size table's system.
    Modelled,
    /// A file of `slots × page_size` bytes.
    File {
        /// The open file.
        file: File,
        /// Whether the page cache is passed by.
        direct: bool,
    },
}

impl Backing {
    /// Creates (or truncates) `path` with room for `slots` pages, readable by the owner only.
    ///
    /// # Errors
    /// [`DeviceError::Create`] and [`DeviceError::NoSpace`], which name the file.
    pub fn create(path: &Path, slots: u32, page_size: usize) -> Result<Self, DeviceError> {
        let create = |source| DeviceError::Create { path: path.into(), source };
        let open = |flags| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(path)
        };
        let (file, direct) = match open(libc::O_DIRECT) {
            Ok(file) => (file, true),
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => (open(0).map_err(create)?, false),
            Err(e) => return Err(create(e)),
        };
        let bytes = u64::from(slots) * page_size as u64;
        reserve(&file, bytes).map_err(|source| DeviceError::NoSpace { path: path.into(), bytes, source })?;
        Ok(Self::File { file, direct })
    }

    /// Whether writes pass the page cache by.
    pub fn is_direct(&self) -> bool {
        matches!(self, Self::File { direct: true, .. })
    }
}

/// Takes the blocks now, so that a full disk is met here and not in the middle of a run.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    if bytes == 0 {
        return Ok(());
    }
    // SAFETY: a plain system call on an open file descriptor.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes.cast_signed()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// The device: its backing, the folios whose writes are under way, and its faults.
#[derive(Debug)]
pub struct Device {
    backing: Backing,
    page_size: usize,
    pending: Mutex<VecDeque<u32>>,
    writes: AtomicU64,
    reads: AtomicU64,
    faults: IoFaults,
}

impl Device {
    /// A device on `backing`.
    pub fn new(backing: Backing, page_size: usize, faults: IoFaults) -> Self {
        let (writes, reads) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { backing, page_size, pending: Mutex::new(VecDeque::new()), writes, reads, faults }
    }

    /// Queues a folio's write (`submit_bio`).
    pub fn submit(&self, folio: u32) {
        self.pending.lock().push_back(folio);
    }

    /// The next folio to write.
    pub fn next(&self) -> Option<u32> {
        self.pending.lock().pop_front()
    }

    /// Folios whose writes wait, the next first.
    pub fn pending(&self) -> Vec<u32> {
        let mut pending = Vec::new();
        self.each_pending(|folio| pending.push(folio));
        pending
    }

    /// Calls `f` on each of [`Device::pending`].
    pub fn each_pending(&self, f: impl FnMut(u32)) {
        self.pending.lock().iter().copied().for_each(f);
    }

    /// Whether no write waits.
    pub fn is_idle(&self) -> bool {
        self.pending.lock().is_empty()
    }

    /// Writes `contents` (`None`: a modelled device) to `slot`; a direct device wants them aligned to a page.
    ///
    /// # Errors
    /// [`DeviceError::Io`] and [`DeviceError::Short`], injected or real; the slot's contents are then undefined.
    pub fn write(&self, slot: u32, contents: Option<&[u8]>) -> Result<(), DeviceError> {
        let number = next_number(&self.writes);
        let error = |source| DeviceError::Io { operation: "write", slot, source };
        if self.faults.writes.contains(&number) {
            return Err(error(io::Error::other("injected fault")));
        }
        let short = self.faults.short_writes.contains(&number);
        let want = self.page_size;
        let len = if short { want / 2 } else { want };
        let wrote = match (&self.backing, contents) {
            (Backing::File { file, .. }, Some(page)) => {
                write_once(file, &page[..len], u64::from(slot) * want as u64).map_err(error)?
            }
            _ => len,
        };
        if wrote == want { Ok(()) } else { Err(DeviceError::Short { slot, wrote, want }) }
    }

    /// As [`Device::write`], of a write that fails.
    ///
    /// # Errors
    /// [`DeviceError::Io`], always.
    pub fn fail_write(&self, slot: u32) -> Result<(), DeviceError> {
        next_number(&self.writes);
        Err(DeviceError::Io { operation: "write", slot, source: io::Error::other("injected fault") })
    }

    /// Reads `slot` into `page` (`None`: a modelled device).
    ///
    /// # Errors
    /// [`DeviceError::Io`], injected or real.
    pub fn read(&self, slot: u32, page: Option<&mut [u8]>) -> Result<(), DeviceError> {
        let error = |source| DeviceError::Io { operation: "read", slot, source };
        if self.faults.reads.contains(&next_number(&self.reads)) {
            return Err(error(io::Error::other("injected fault")));
        }
        match (&self.backing, page) {
            (Backing::File { file, .. }, Some(page)) => {
                file.read_exact_at(page, u64::from(slot) * self.page_size as u64).map_err(error)
            }
            _ => Ok(()),
        }
    }
}

/// One write, begun again only when a signal came before its first byte.
fn write_once(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.write_at(bytes, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn next_number(count: &AtomicU64) -> u64 {
    // ORDERING: Relaxed: a counter.
    count.fetch_add(1, Ordering::Relaxed)
}

impl Snapshot for Device {
    fn save(&self, out: &mut Saved) {
        let pending = self.pending.lock();
        let folios = pending.iter().map(|&folio| out.names.pages.name(folio));
        push_indices(&mut out.state, pending.len() as u32, folios);
        // Without faults to come, the numbers decide nothing.
        if self.faults != IoFaults::default() {
            // ORDERING: Relaxed: a saving driver is alone.
            out.state.extend([self.writes.load(Ordering::Relaxed), self.reads.load(Ordering::Relaxed)]);
        }
    }

    fn restore(&self, from: &mut Reader<'_>) {
        let mut pending = self.pending.lock();
        pending.clear();
        pending.extend(from.indices());
        if self.faults != IoFaults::default() {
            for count in [&self.writes, &self.reads] {
                // ORDERING: Relaxed: a restoring driver is alone.
                count.store(from.state(), Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_what_it_took_and_fails_on_request() {
        let path = std::env::temp_dir().join(format!("kcompressd-device-{}", std::process::id()));
        let backing = Backing::create(&path, 4, 4096).unwrap();
        let faults = IoFaults { writes: vec![1], short_writes: vec![2], reads: vec![1] };
        let device = Device::new(backing, 4096, faults);
        let frames = crate::frames::Frames::from_bytes(&vec![7u8; 8192], 4096).unwrap();
        // SAFETY: this test is alone with its frames.
        let source = unsafe { frames.page(0) };
        // SAFETY: as above, and frame 1 is not `source`.
        let target = unsafe { frames.page_mut(1) };
        device.write(2, Some(source)).unwrap();
        assert!(device.write(3, Some(source)).unwrap_err().to_string().contains("write of slot 3 failed: injected"));
        assert!(
            device.write(3, Some(source)).unwrap_err().to_string().ends_with("slot 3 was short: 2048 of 4096 bytes")
        );
        target.fill(0);
        device.read(2, Some(target)).unwrap();
        assert_eq!(source, target);
        assert!(device.read(2, Some(target)).is_err());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_swap_file_that_cannot_be_made_is_named() {
        let error = Backing::create(Path::new("/nonexistent/swap"), 1, 4096).unwrap_err();
        assert!(error.to_string().starts_with("swap file /nonexistent/swap: No such file"), "{error}");
    }
}

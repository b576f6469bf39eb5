//! A disk whose power can be cut, and that fails on order.
//!
//! It is a file of a file system in user space, which a loop device makes a disk of, with a file system
//! of its own on it. So every write and every flush of the kernel passes here, and what a real disk
//! keeps in its cache is known: a write counts only when a flush has followed it. When the power goes,
//! each sector that was written since then is kept or lost by lot, in any combination.
//!
//! It takes root, FUSE, loop devices and `mkfs.ext4`; where one is missing, [`Drive::new`] says which.
//!
//! Not here: what a server makes of it (`scenarios::power`).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::lot::Lot;

/// Its size: more than the floor of free space that a journal insists on.
const BYTES: usize = 640 << 20;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
const DISK: INodeNo = INodeNo(2);
/// What the kernel may believe about the one file: it never changes.
const TTL: Duration = Duration::from_secs(3600);

/// What the disk does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Mood {
    /// What it is told.
    #[default]
    Well,
    /// Takes writes, and answers EIO when it is to confirm them.
    NoFlush,
    /// Answers EIO to everything.
    Broken,
    /// Does what it is told, and takes so long for every confirmation.
    Slow(Duration),
}

/// The bytes, as they are and as they would survive.
struct Platter {
    mood: Mood,
    now: Vec<u8>,
    safe: Vec<u8>,
    /// Written since the last flush, in order.
    unsafe_writes: Vec<(usize, Vec<u8>)>,
    lost_sectors: u64,
    /// After so many more writes the power goes, and what then decides what survives.
    cut: Option<(u64, Lot)>,
}

impl Platter {
    fn write(&mut self, at: usize, data: &[u8]) {
        self.now[at..at + data.len()].copy_from_slice(data);
        self.unsafe_writes.push((at, data.to_vec()));
        match self.cut.take() {
            Some((0, lot)) => self.lose_power(lot),
            cut => self.cut = cut.map(|(writes, lot)| (writes - 1, lot)),
        }
    }

    fn flush(&mut self) {
        for (at, data) in self.unsafe_writes.drain(..) {
            self.safe[at..at + data.len()].copy_from_slice(&data);
        }
    }

    /// What was not flushed survives by lot.
    fn lose_power(&mut self, mut lot: Lot) {
        self.mood = Mood::Broken;
        for (at, data) in self.unsafe_writes.drain(..) {
            // Most disks write most of what they were given, or nothing of it.
            let odds = [0, 2, 3, 4][lot.draw(4)];
            for (index, sector) in data.chunks(SECTOR).enumerate() {
                let at = at + index * SECTOR;
                if lot.draw(4) < odds {
                    self.safe[at..at + sector.len()].copy_from_slice(sector);
                } else {
                    self.lost_sectors += 1;
                }
            }
        }
        self.now.copy_from_slice(&self.safe);
    }
}

/// The file system with one file.
struct Cabinet(Arc<Mutex<Platter>>);

impl Cabinet {
    /// The platter, and whether it does what it is told.
    fn platter(&self) -> (MutexGuard<'_, Platter>, Mood) {
        let platter = self.0.lock().unwrap();
        let mood = platter.mood;
        (platter, mood)
    }
}

fn attributes(ino: INodeNo) -> FileAttr {
    let is_disk = ino == DISK;
    FileAttr {
        ino,
        size: if is_disk { BYTES as u64 } else { 0 },
        blocks: if is_disk { (BYTES / SECTOR) as u64 } else { 0 },
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: if is_disk { FileType::RegularFile } else { FileType::Directory },
        perm: 0o700,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for Cabinet {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == "disk" {
            reply.entry(&TTL, &attributes(DISK), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &attributes(ino));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Past the cache of the kernel: it would remember what the disk has lost.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (platter, mood) = self.platter();
        let from = (offset as usize).min(BYTES);
        let to = (from + size as usize).min(BYTES);
        match mood {
            Mood::Broken => reply.error(Errno::EIO),
            Mood::Well | Mood::NoFlush | Mood::Slow(_) => reply.data(&platter.now[from..to]),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (mut platter, mood) = self.platter();
        match mood {
            Mood::Broken => reply.error(Errno::EIO),
            _ if offset as usize + data.len() > BYTES => reply.error(Errno::ENOSPC),
            Mood::Well | Mood::NoFlush | Mood::Slow(_) => {
                platter.write(offset as usize, data);
                reply.written(data.len() as u32);
            }
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        if let (platter, Mood::Slow(span)) = self.platter() {
            drop(platter);
            // One after the other, as on a disk: meanwhile nothing is read or written either.
            std::thread::sleep(span);
        }
        let (mut platter, mood) = self.platter();
        match mood {
            Mood::NoFlush | Mood::Broken => reply.error(Errno::EIO),
            Mood::Well | Mood::Slow(_) => {
                platter.flush();
                reply.ok();
            }
        }
    }
}

/// What the file system on the disk does when the disk fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// What Linux does by default nearly everywhere: it has a journal, and becomes read-only.
    Journalled,
    /// It has no journal, and goes on.
    GoesOn,
}

/// The disk, mounted.
pub(crate) struct Drive {
    platter: Arc<Mutex<Platter>>,
    mount: PathBuf,
    device: Option<String>,
    /// Ended before the folder goes.
    session: Option<BackgroundSession>,
    folder: TempDir,
}

impl Drive {
    /// A new disk, formatted and mounted; or why there can be none here.
    pub(crate) fn new(format: Format) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let [cabinet, mount] = ["cabinet", "mount"].map(|name| folder.path().join(name));
        for path in [&cabinet, &mount] {
            std::fs::create_dir(path).map_err(|error| error.to_string())?;
        }
        let platter = Platter {
            mood: Mood::Well,
            now: vec![0; BYTES],
            safe: vec![0; BYTES],
            unsafe_writes: Vec::new(),
            lost_sectors: 0,
            cut: None,
        };
        let platter = Arc::new(Mutex::new(platter));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("segue-faults".into())];
        let session = fuser::spawn_mount(Cabinet(Arc::clone(&platter)), &cabinet, &config)
            .map_err(|error| format!("no FUSE: {error}"))?;
        let mut drive = Self { platter, mount, device: None, session: Some(session), folder };
        let disk = drive.disk();
        let features = match format {
            Format::Journalled => "has_journal",
            Format::GoesOn => "^has_journal",
        };
        let behaviour = match format {
            Format::Journalled => "remount-ro",
            Format::GoesOn => "continue",
        };
        run("mkfs.ext4", &["-q", "-F", "-m", "0", "-O", features, "-e", behaviour, &disk])?;
        drive.attach()?;
        Ok(drive)
    }

    /// Where its file system is.
    pub(crate) fn path(&self) -> &Path {
        &self.mount
    }

    /// Lets it fail, or be well again.
    pub(crate) fn set(&self, mood: Mood) {
        self.platter().mood = mood;
    }

    /// Cuts the power at one of the next writes, so that it goes in the midst of something. From then on
    /// the disk answers EIO, until it is attached again.
    pub(crate) async fn cut(&self, seed: u64) {
        let mut lot = Lot::seeded(seed);
        let writes = lot.draw(24) as u64;
        self.platter().cut = Some((writes, lot));
        while self.platter().cut.is_some() {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// How many sectors were lost because they were not flushed.
    pub(crate) fn lost_sectors(&self) -> u64 {
        self.platter().lost_sectors
    }

    /// Whether its file system takes nothing any more.
    pub(crate) fn is_read_only(&self) -> bool {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        let mine = mounts.lines().find(|line| line.contains(&*self.mount.to_string_lossy()));
        // Newer kernels only say so in the second word of the options.
        let options = mine.and_then(|line| line.split(' ').nth(3)).unwrap_or_default();
        options.split(',').any(|option| ["ro", "emergency_ro"].contains(&option))
    }

    /// Takes the file system off and puts it on again, as after a start of the machine.
    pub(crate) fn restart(&mut self) {
        self.detach();
        self.set(Mood::Well);
        self.attach().unwrap();
    }

    fn attach(&mut self) -> Result<(), String> {
        let device = run("losetup", &["--find", "--show", &self.disk()])?;
        self.device = Some(device.clone());
        run("mount", &["-t", "ext4", &device, &self.mount.to_string_lossy()]).map(drop)
    }

    fn detach(&mut self) {
        let Some(device) = self.device.take() else { return };
        // On a disk without power it has much to complain about.
        drop(run("umount", &[&self.mount.to_string_lossy()]));
        drop(run("losetup", &["--detach", &device]));
    }

    fn disk(&self) -> String {
        self.folder.path().join("cabinet/disk").to_string_lossy().into_owned()
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap()
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        // Whatever it was to do, nothing waits for it any more.
        self.set(Mood::Well);
        self.detach();
        drop(self.session.take().map(BackgroundSession::umount_and_join));
    }
}

/// Runs a command; its output, or what is wrong with it.
fn run(command: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(command)
        .args(words)
        .output()
        .map_err(|error| format!("no {command}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{command}: {}", said.lines().next().unwrap_or_default()))
        }
    }
}

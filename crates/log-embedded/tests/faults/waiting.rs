//! Who waits for whom, and who does not.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use towline_clock::Clock;
use towline_log::conformance::{START_MS, append, event, topic};
use towline_log::{
    AppendError, Direction, Durability, Epoch, EventLog, Follower, Policies, Position, Read, Record, Start, TopicPolicy,
};
use towline_log_embedded::{DirectoryLock, EmbeddedLog, Files, LogFile, Options, SimulatedFiles};

use super::{all, open, small};

/// A door that is shut until it is opened.
#[derive(Default)]
struct Door {
    open: Mutex<bool>,
    changed: Condvar,
    somebody_waits: AtomicBool,
}

impl Door {
    fn pass(&self) {
        let mut open = self.open.lock();
        while !*open {
            self.somebody_waits.store(true, Ordering::SeqCst);
            self.changed.wait(&mut open);
        }
    }

    fn open(&self) {
        *self.open.lock() = true;
        self.changed.notify_all();
    }

    async fn until_somebody_waits(&self) {
        until("somebody waits at the door", || self.somebody_waits.load(Ordering::SeqCst)).await;
    }
}

/// Looks again and again; a minute is a failure.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let clock = Clock::system();
    while !holds() {
        assert!(clock.uptime() < Duration::from_secs(60), "not in a minute: {what}");
        tokio::task::yield_now().await;
    }
}

/// Holds up the writer.
struct AtTheDoor(Arc<Door>);

impl Follower for AtTheDoor {
    fn committed(&self, _epoch: Epoch, _records: &[Record]) {
        self.0.pass();
    }

    fn reset(&self, _head: Position) {}
}

/// Whoever appends while a commit is under way shares the next one: one write, one sync.
#[tokio::test]
async fn all_that_wait_share_one_sync() {
    let (log, _) = open(&SimulatedFiles::new(1), &Options::default(), &Clock::manual(START_MS));
    let door = Arc::new(Door::default());
    log.follow(&topic("door:1"), Arc::new(AtTheDoor(door.clone()))).await.unwrap();
    let first = log.append(vec![event(&topic("door:1"), 1)]);
    door.until_somebody_waits().await;
    let before = log.stats();
    let waiting: Vec<_> = (0..500).map(|n| log.append(vec![event(&topic(&format!("user:{n}")), n)])).collect();
    door.open();
    first.await.unwrap();
    for call in waiting {
        call.await.unwrap();
    }
    let after = log.stats();
    assert_eq!((after.commits_total - before.commits_total, after.syncs_total - before.syncs_total), (1, 1));
    assert_eq!(after.appended_total - before.appended_total, 500);
}

/// What does not fit into the queue is refused at once, and taken when there is room again.
#[tokio::test]
async fn a_full_queue_says_busy() {
    let options = Options { append_queue_events_max: 10, ..Options::default() };
    let (log, _) = open(&SimulatedFiles::new(1), &options, &Clock::manual(START_MS));
    let door = Arc::new(Door::default());
    let name = topic("door:1");
    log.follow(&name, Arc::new(AtTheDoor(door.clone()))).await.unwrap();
    let first = log.append(vec![event(&name, 0)]);
    door.until_somebody_waits().await;
    let waiting: Vec<_> = (1..11).map(|n| log.append(vec![event(&name, n)])).collect();
    assert!(matches!(log.append(vec![event(&name, 11)]).await, Err(AppendError::Busy)));
    assert!(matches!(log.append((20..31).map(|n| event(&name, n)).collect()).await, Err(AppendError::Invalid(_))));
    door.open();
    first.await.unwrap();
    for call in waiting {
        call.await.unwrap();
    }
    append(&log, vec![event(&name, 11)]).await;
    let offsets: Vec<u64> = all(&log, "door:1").await.2.iter().map(Record::offset).collect();
    assert_eq!(offsets, (1..=12).collect::<Vec<_>>());
}

/// Files whose reads wait at a door.
struct SlowReads {
    files: SimulatedFiles,
    door: Arc<Door>,
    slow: Arc<AtomicBool>,
}

struct SlowFile {
    file: Arc<dyn LogFile>,
    door: Arc<Door>,
    slow: Arc<AtomicBool>,
}

impl SlowReads {
    fn slow(&self, file: Arc<dyn LogFile>) -> Arc<dyn LogFile> {
        Arc::new(SlowFile { file, door: self.door.clone(), slow: self.slow.clone() })
    }
}

impl Files for SlowReads {
    fn location(&self) -> PathBuf {
        self.files.location()
    }
    fn prepare(&self) -> io::Result<()> {
        self.files.prepare()
    }
    fn lock(&self) -> io::Result<Box<dyn DirectoryLock>> {
        self.files.lock()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        Ok(self.slow(self.files.open(name)?))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        Ok(self.slow(self.files.create(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.files.sync_directory()
    }
    fn boot_id(&self) -> Option<String> {
        self.files.boot_id()
    }
}

impl LogFile for SlowFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        if self.slow.load(Ordering::SeqCst) {
            self.door.pass();
        }
        self.file.read_at(at, into)
    }
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(at, bytes)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

/// While reads hang on the device, appends are stored and acknowledged, followers are served, and what needs no device is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_never_blocks_appending() {
    let (door, slow) = (Arc::new(Door::default()), Arc::new(AtomicBool::new(false)));
    let files = SlowReads { files: SimulatedFiles::new(1), door: door.clone(), slow: slow.clone() };
    let (log, _) = EmbeddedLog::open(small(), Arc::new(files), Clock::manual(START_MS)).unwrap();
    let name = topic("user:1");
    for n in 0..50 {
        append(&log, vec![event(&name, n)]).await;
    }
    slow.store(true, Ordering::SeqCst);
    let read = |start| Read { topic: name.clone(), start, direction: Direction::Forward, events_max: 100, bytes_max: 1 << 20 };
    // More reads than may use the disk at once.
    let hanging: Vec<_> = (0..40).map(|_| tokio::spawn(log.read(read(Start::Earliest)))).collect();
    door.until_somebody_waits().await;
    for n in 50..100 {
        append(&log, vec![event(&name, n)]).await;
    }
    assert_eq!(log.bounds(&name).await.unwrap().head, 100);
    assert!(log.read(read(Start::Latest)).await.unwrap().complete);
    door.open();
    for page in hanging {
        let page = page.await.unwrap().unwrap();
        assert!(page.records.len() >= 50);
    }
}

/// A relaxed append is acknowledged before its sync, and synced soon without anybody asking.
#[tokio::test]
async fn a_relaxed_append_is_synced_within_its_interval() {
    let relaxed = TopicPolicy { durability: Durability::Relaxed, ..TopicPolicy::default() };
    let policies = Policies { fallback: relaxed, relaxed_sync_interval: Duration::from_millis(20), ..Policies::default() };
    let options = Options { policies, ..Options::default() };
    let clock = Clock::system();
    let files = SimulatedFiles::new(1);
    let (log, _) = open(&files, &options, &clock);
    let epoch = append(&log, vec![event(&topic("user:1"), 1)]).await[0].position.epoch;
    until("the relaxed append is synced", || log.stats().syncs_total == 1).await;
    let files = files.lose_power();
    drop(log);
    let (log, report) = open(&files, &options, &clock);
    let (now, _, records, _) = all(&log, "user:1").await;
    assert_eq!(records.len(), 1, "{report}");
    assert_ne!(now, epoch, "whether more was acknowledged and lost cannot be known");
}

struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls on this thread, which belongs to no runtime.
fn wait<T>(mut future: towline_log::LogFuture<T>) -> T {
    let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn futures_may_be_polled_where_there_is_no_runtime() {
    let (log, _) = open(&SimulatedFiles::new(1), &small(), &Clock::manual(START_MS));
    let name = topic("user:1");
    wait(log.append((0..20).map(|n| event(&name, n)).collect())).unwrap();
    let read = |start| Read { topic: name.clone(), start, direction: Direction::Forward, events_max: 100, bytes_max: 1 << 20 };
    for start in [Start::Earliest, Start::Time(START_MS), Start::Id(event(&name, 3).id)] {
        assert!(wait(log.read(read(start))).unwrap().complete);
    }
    assert_eq!(wait(log.bounds(&name)).unwrap().head, 20);
    wait(log.close());
}

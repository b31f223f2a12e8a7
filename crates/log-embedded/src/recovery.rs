//! Opening a log: verify everything that is there, cut what was never acknowledged, put aside what is damaged, and say so.
//!
//! Damage is written down (new epochs, known losses, in the checkpoint) before the damaged file is replaced by what could be read of it,
//! so that a crash in between never makes it look as if nothing had happened.

use std::io;
use std::sync::Arc;

use towline_clock::Clock;

use crate::checkpoint::{self, Checkpoint};
use crate::dedup::Keying;
use crate::files::{DirectoryLock, Files, LogFile, read_full_at};
use crate::open_error::OpenError;
use crate::options::Options;
use crate::rebuild::{Before, Rebuild};
use crate::recovery_report::{Damage, RecoveryReport};
use crate::repair;
use crate::segment::{self, HEADER_BYTES, HeaderError, SegmentHeader};
use crate::segment_scan::{Found, scan};
use crate::shared::Identity;
use crate::torn_tail;
use crate::writer::{ActiveSegment, create_segment};

/// After a repair everything is read again, to be sure; a log that is damaged again right away is on a failing disk.
const ROUNDS_MAX: usize = 3;
/// More segments than this never go missing in between; a file whose number is that far away does not belong here.
const MISSING_MAX: u32 = 100_000;

/// An opened log, ready for its threads.
pub(crate) struct Recovered {
    pub rebuild: Rebuild,
    pub identity: Identity,
    pub active: ActiveSegment,
    pub report: RecoveryReport,
    pub lock: Box<dyn DirectoryLock>,
}

/// A segment's file as it was found.
struct Opened {
    seq: u32,
    file: Arc<dyn LogFile>,
    header: Result<SegmentHeader, HeaderError>,
}

struct Opening<'a> {
    files: &'a Arc<dyn Files>,
    options: &'a Options,
    now_ms: u64,
    boot_id: String,
}

/// Opens the log in `files`. Blocks for as long as it takes to read all segments.
pub(crate) fn recover(files: &Arc<dyn Files>, options: &Options, clock: &Clock, keying: &Keying) -> Result<Recovered, OpenError> {
    let opening = Opening { files, options, now_ms: clock.unix_ms(), boot_id: files.boot_id().unwrap_or_default() };
    files.prepare().map_err(|source| opening.io("making the directory", source))?;
    let lock = files.lock().map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse { directory: files.location(), holder: source.to_string() },
        _ => opening.io("locking the directory", source),
    })?;
    let mut report = RecoveryReport::default();
    let loaded = Checkpoint::load(&**files).map_err(|source| opening.io("reading the checkpoint", source))?;
    let mut checkpoint = loaded.as_deref().and_then(Checkpoint::decode);
    report.clean = checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.clean);
    // Decided once: a checkpoint written on the way already names the new run of the machine.
    let rebooted = checkpoint.as_ref().is_none_or(|old| old.boot_id.is_empty() || old.boot_id != opening.boot_id);
    let relaxed_in_use = checkpoint.as_ref().is_some_and(|old| old.relaxed_in_use);
    let lost_unsynced = rebooted && !report.clean && relaxed_in_use;
    let mut first_round = true;
    for _ in 0..ROUNDS_MAX {
        let mut found = opening.segments(checkpoint.as_ref(), rebooted && !report.clean, &mut report)?;
        if first_round && checkpoint.is_none() {
            opening.miss_checkpoint(loaded.is_some(), found.is_empty(), &mut report)?;
        }
        let log_id = opening.log_id(checkpoint.as_ref(), &found)?;
        let mut rebuild = Rebuild::new(&Arc::new(options.policies.clone()), checkpoint.as_ref(), keying.clone(), opening.now_ms);
        let round = opening.read_all(&mut found, log_id, checkpoint.as_ref(), rebooted, &mut rebuild, &mut report)?;
        let before = Before {
            checkpoint: checkpoint.as_ref(),
            unsynced_lost: lost_unsynced && first_round,
            fresh_epoch: opening.now_ms.max(rebuild.last_epoch + 1),
        };
        rebuild.finish(&before, &mut report);
        let identity = Identity { log_id, last_epoch: rebuild.last_epoch, boot_id: opening.boot_id.clone() };
        if round.repairs.is_empty() && round.missing.is_empty() {
            report.segments = found.len() as u64;
            let active = opening.continue_at(&found, &round, &identity, !report.clean, &mut rebuild)?;
            return Ok(Recovered { rebuild, identity, active, report, lock });
        }
        let noted = opening.note_damage(&identity, &rebuild, &round)?;
        for repair in &round.repairs {
            let kept_as = repair::replace(&**files, repair, log_id, opening.now_ms)
                .map_err(|source| opening.io("repairing a segment", source))?;
            for damage in report.damage.iter_mut().filter(|damage| damage.file == segment::file_name(repair.seq)) {
                damage.kept_as = Some(kept_as.clone());
            }
        }
        checkpoint = Some(noted);
        report.records = 0;
        report.clean = false;
        first_round = false;
    }
    Err(opening.unusable("the log", "is damaged again right after its repair: check the disk"))
}

/// What one reading of all segments showed.
#[derive(Default)]
struct Round {
    repairs: Vec<repair::Repair>,
    /// Segments that should be there.
    missing: Vec<u32>,
    /// All segments, with their ends after repair.
    ends: Vec<(u32, u32)>,
}

impl Opening<'_> {
    fn io(&self, doing: &str, source: io::Error) -> OpenError {
        OpenError::Io { directory: self.files.location(), doing: doing.to_owned(), source }
    }

    fn unusable(&self, file: &str, what: &str) -> OpenError {
        OpenError::Unusable { directory: self.files.location(), file: file.to_owned(), what: what.to_owned() }
    }

    /// Opens all segments in order. Removes what an interrupted removal or an interrupted creation left behind.
    fn segments(
        &self,
        checkpoint: Option<&Checkpoint>,
        power_lost: bool,
        report: &mut RecoveryReport,
    ) -> Result<Vec<Opened>, OpenError> {
        let names = self.files.list().map_err(|source| self.io("listing the directory", source))?;
        let mut seqs: Vec<u32> = names.iter().filter_map(|name| segment::seq_of(name)).collect();
        seqs.sort_unstable();
        if let Some(checkpoint) = checkpoint {
            let newest = checkpoint.segments.iter().map(|(seq, _)| *seq).max().unwrap_or(0);
            let listed = |seq: &u32| checkpoint.segments.iter().any(|(other, _)| other == seq);
            for seq in seqs.extract_if(.., |seq| *seq <= newest && !listed(seq)) {
                self.remove(seq)?;
            }
        }
        let mut opened = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let name = segment::file_name(seq);
            let doing = format!("reading {name}");
            let file = self.files.open(&name).map_err(|source| self.io(&doing, source))?;
            let mut head = [0; HEADER_BYTES as usize];
            let read = read_full_at(&*file, 0, &mut head).map_err(|source| self.io(&doing, source))?;
            let header = SegmentHeader::decode(&head[..read]);
            if let Err(HeaderError::Version(version)) = header {
                let what = format!("has format version {version}, which this Towline does not know: use the one that wrote it");
                return Err(self.unusable(&name, &what));
            }
            opened.push(Opened { seq, file, header });
        }
        // A segment is used only once its header is on the device, so one without holds nothing that was acknowledged.
        if let Some(last) = opened.last() {
            let len = last.file.len().map_err(|source| self.io("reading the last segment", source))?;
            let zeroed = power_lost && last.header == Err(HeaderError::Damaged) && len <= u64::from(HEADER_BYTES);
            let listed = checkpoint.is_some_and(|checkpoint| checkpoint.segments.iter().any(|(seq, _)| *seq == last.seq));
            if (last.header == Err(HeaderError::Short) || zeroed) && !listed {
                report.torn_bytes_cut += len;
                self.remove(last.seq)?;
                opened.pop();
            }
        }
        Ok(opened)
    }

    fn remove(&self, seq: u32) -> Result<(), OpenError> {
        let name = segment::file_name(seq);
        self.files.remove(&name).map_err(|source| self.io(&format!("removing {name}"), source))
    }

    fn miss_checkpoint(&self, present: bool, empty: bool, report: &mut RecoveryReport) -> Result<(), OpenError> {
        let mut kept_as = None;
        if present {
            let name = format!("damaged-checkpoint-{}", self.now_ms);
            self.files.rename(checkpoint::FILE, &name).map_err(|source| self.io("keeping the damaged checkpoint", source))?;
            kept_as = Some(name);
        } else if empty {
            report.created = true;
            return Ok(());
        }
        report.damage.push(Damage {
            file: checkpoint::FILE.into(),
            from: 0,
            to: 0,
            what: "damaged or gone: which events were trimmed is known no longer; all topics begin a new epoch".into(),
            kept_as,
        });
        Ok(())
    }

    fn log_id(&self, checkpoint: Option<&Checkpoint>, found: &[Opened]) -> Result<u64, OpenError> {
        let from_segments = found.iter().find_map(|segment| segment.header.ok()).map(|header| header.log_id);
        let log_id = match checkpoint.map(|checkpoint| checkpoint.log_id).or(from_segments) {
            Some(log_id) => log_id,
            None if found.is_empty() => fastrand::u64(..),
            None => {
                let what = "and all other files have damaged headers: move the directory away, and restore a backup";
                return Err(self.unusable(checkpoint::FILE, what));
            }
        };
        for segment in found {
            if let Ok(header) = segment.header
                && (header.log_id != log_id || header.seq != segment.seq)
            {
                let what = "belongs to another log or was renamed: move it out of the directory";
                return Err(self.unusable(&segment::file_name(segment.seq), what));
            }
        }
        Ok(log_id)
    }

    fn read_all(
        &self,
        found: &mut [Opened],
        log_id: u64,
        checkpoint: Option<&Checkpoint>,
        rebooted: bool,
        rebuild: &mut Rebuild,
        report: &mut RecoveryReport,
    ) -> Result<Round, OpenError> {
        let mut round = Round::default();
        let listed = checkpoint.map(|checkpoint| &checkpoint.segments[..]).unwrap_or_default();
        let newest_listed = listed.iter().map(|(seq, _)| *seq).max().unwrap_or(0);
        let mut expected: Vec<u32> = listed.iter().map(|(seq, _)| *seq).collect();
        let newest = found.last().map_or(newest_listed, |segment| segment.seq);
        let first_unlisted = if checkpoint.is_some() { newest_listed + 1 } else { found.first().map_or(1, |first| first.seq) };
        if newest.saturating_sub(first_unlisted) > MISSING_MAX.saturating_add(found.len() as u32) {
            let what = "has a number far from all others: move it out of the directory";
            return Err(self.unusable(&segment::file_name(newest), what));
        }
        expected.extend(first_unlisted..=newest);
        expected.sort_unstable();
        for seq in expected {
            let Some(at) = found.iter().position(|segment| segment.seq == seq) else {
                let what = "the file is gone: what it held is lost".to_owned();
                report.damage.push(Damage { file: segment::file_name(seq), from: 0, to: 0, what, kept_as: None });
                rebuild.damage(report);
                round.missing.push(seq);
                continue;
            };
            let is_last = at + 1 == found.len();
            let known_end = listed.iter().find(|(other, end)| *other == seq && *end > 0).map(|(_, end)| *end);
            let noted_end = found.get(at + 1).filter(|next| next.seq == seq + 1).and_then(|next| next.header.ok());
            let sealed_end = known_end.or(noted_end.map(|header| header.previous_end).filter(|end| *end > 0));
            let may_be_torn = is_last && !report.clean;
            self.read_segment(&found[at], log_id, sealed_end, may_be_torn, rebooted, rebuild, report, &mut round)?;
        }
        Ok(round)
    }

    #[allow(clippy::too_many_arguments, reason = "one step of the loop above, apart for its length")]
    fn read_segment(
        &self,
        segment: &Opened,
        log_id: u64,
        sealed_end: Option<u32>,
        may_be_torn: bool,
        rebooted: bool,
        rebuild: &mut Rebuild,
        report: &mut RecoveryReport,
        round: &mut Round,
    ) -> Result<(), OpenError> {
        let seq = segment.seq;
        let name = segment::file_name(seq);
        let mut bad: Vec<(u64, u64, &str)> = Vec::new();
        if segment.header.is_err() {
            bad.push((0, HEADER_BYTES.into(), "the header is damaged; it was written anew"));
        }
        rebuild.begin_segment(seq);
        let mut valid_bytes = HEADER_BYTES;
        let reading = |source| self.io(&format!("reading {name}"), source);
        let salt = segment::salt(log_id, seq);
        if may_be_torn && rebooted {
            let len = segment.file.len().map_err(reading)?;
            if let Some(cut) = torn_tail::never_synced_from(&*segment.file, salt).map_err(reading)? {
                report.torn_bytes_cut += len - u64::from(cut);
                segment.file.set_len(cut.into()).map_err(reading)?;
            }
        }
        let outcome = scan(&*segment.file, salt, |found| match found {
            Found::Record { position, frame, .. } => {
                valid_bytes += frame.frame_bytes as u32;
                rebuild.record(seq, position, &frame, report);
            }
            Found::Damage { from, to } => {
                bad.push((from.into(), to.into(), "records are damaged; those before and behind are kept"));
                rebuild.damage(report);
            }
        })
        .map_err(reading)?;
        let mut end = outcome.valid_end;
        let len = segment.file.len().map_err(reading)?;
        let shortened = outcome.tail_cut_short && torn_tail::is_shortened(&*segment.file, end, len, salt).map_err(reading)?;
        let torn = may_be_torn && !shortened && (outcome.tail_bytes == 0 || outcome.tail_cut_short || rebooted);
        if torn {
            if let Some(call) = rebuild.unfinished_call() {
                rebuild.drop_unfinished_call();
                end = call;
            }
            report.torn_bytes_cut += len - u64::from(end).min(len);
        } else if outcome.tail_bytes > 0 {
            let tail = (u64::from(end), u64::from(end) + outcome.tail_bytes);
            bad.push((tail.0, tail.1, "the end is damaged; what stands before it is kept"));
            rebuild.damage(report);
        } else if rebuild.unfinished_call().is_some() || sealed_end.is_some_and(|sealed| end < sealed) {
            let lost_to = sealed_end.unwrap_or(end).max(end);
            bad.push((end.into(), lost_to.into(), "the file was cut short; what stands before is kept"));
            rebuild.damage(report);
        }
        rebuild.end_segment(seq, end);
        round.ends.push((seq, if bad.is_empty() { end } else { valid_bytes }));
        if !bad.is_empty() {
            round.repairs.push(repair::Repair { seq, file: segment.file.clone() });
        }
        report.damage.extend(bad.into_iter().map(|(from, to, what)| Damage {
            file: name.clone(),
            from,
            to,
            what: what.to_owned(),
            kept_as: None,
        }));
        Ok(())
    }

    /// Writes down what is lost and which epochs change, before any file is touched.
    fn note_damage(&self, identity: &Identity, rebuild: &Rebuild, round: &Round) -> Result<Checkpoint, OpenError> {
        let mut noted = Checkpoint {
            log_id: identity.log_id,
            last_epoch: identity.last_epoch,
            base_epoch: rebuild.index.base_epoch,
            last_ts_ms: rebuild.last_ts_ms,
            relaxed_in_use: self.options.relaxed_in_use(),
            clean: false,
            boot_id: identity.boot_id.clone(),
            segments: round.ends.clone(),
            topics: (0..rebuild.index.ids_end()).filter_map(|id| rebuild.index.get(id)?.state()).collect(),
        };
        if let Some((_, end)) = noted.segments.last_mut() {
            // It may have a torn end that is cut later.
            *end = 0;
        }
        noted.store(&**self.files).map_err(|source| self.io("writing the checkpoint", source))?;
        Ok(noted)
    }

    /// Cuts the torn end, makes what is left durable, and goes on in the last segment.
    fn continue_at(
        &self,
        found: &[Opened],
        round: &Round,
        identity: &Identity,
        unclean: bool,
        rebuild: &mut Rebuild,
    ) -> Result<ActiveSegment, OpenError> {
        let active = match (found.last(), round.ends.last()) {
            (Some(last), Some((seq, end))) => {
                let make_durable = || {
                    last.file.set_len((*end).into())?;
                    if unclean {
                        torn_tail::rewrite(&*last.file, (*end).into())?;
                    }
                    last.file.sync()
                };
                make_durable().map_err(|source| self.io("cutting the torn end of the last segment", source))?;
                ActiveSegment { seq: *seq, file: last.file.clone(), end: *end, synced_to: *end }
            }
            _ => {
                let header = SegmentHeader { seq: 1, log_id: identity.log_id, created_ms: self.now_ms, previous_end: 0 };
                let file =
                    create_segment(&**self.files, &header).map_err(|source| self.io("making the first segment", source))?;
                rebuild.begin_segment(header.seq);
                ActiveSegment { seq: header.seq, file, end: HEADER_BYTES, synced_to: HEADER_BYTES }
            }
        };
        Ok(active)
    }
}

//! Full disks, failing syncs, short writes.

use std::sync::Arc;
use std::time::Duration;

use towline_clock::Clock;
use towline_log::conformance::{START_MS, Store, append, event, run_all, sequences, topic};
use towline_log::{AppendError, Durability, EventLog, Health, Policies, Retention, TopicPolicy};
use towline_log_embedded::{Options, SimulatedFiles};

use super::{OnSimulatedFiles, all, open, small};

/// The whole contract holds where every write takes only a part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_writes_change_nothing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    run_all(&|| {
        let files = SimulatedFiles::new(seed);
        files.short_writes(true);
        Arc::new(OnSimulatedFiles::new(files)) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_lives_are_as_the_model_says() {
    let seed = fastrand::u64(..);
    for life in 0..150 {
        let seed = seed.wrapping_add(life);
        println!("life {seed}");
        let files = SimulatedFiles::new(seed);
        files.short_writes(life % 2 == 0);
        sequences::a_random_life_is_as_the_model_says(Arc::new(OnSimulatedFiles::new(files)), seed).await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_loses_nothing_and_goes_on_when_there_is_space() {
    let clock = Clock::manual(START_MS);
    let memory = TopicPolicy { durability: Durability::Memory, ..TopicPolicy::default() };
    let rules = vec![(towline_protocol::TopicPattern::new("memory:*").unwrap(), memory)];
    let options = Options { policies: Policies { rules, ..Policies::default() }, ..small() };
    // At any number of free bytes: inside a record, between two, in the next segment's header.
    for space in (0..1600).step_by(13) {
        let files = SimulatedFiles::new(space as u64);
        let (log, _) = open(&files, &options, &clock);
        let (name, memory) = (topic("user:1"), topic("memory:1"));
        let mut n = 0;
        while files.used_bytes() < 3_500 {
            append(&log, vec![event(&name, n)]).await;
            n += 1;
        }
        files.set_space(files.used_bytes() + space);
        let mut stored = n;
        let refused = loop {
            match log.append(vec![event(&name, n), event(&name, n + 1)]).await {
                Ok(_) => {
                    n += 2;
                    stored = n;
                }
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, AppendError::Full), "{refused}");
        assert!(matches!(log.health(), Health::Refusing(why) if why.contains("full")));
        assert_eq!(all(&log, "user:1").await.2.len() as u64, stored, "nothing of the refused call, all of the others");
        let answers = append(&log, vec![event(&memory, 1)]).await;
        assert_eq!(answers[0].position.offset, 1, "memory is not full");
        assert!(matches!(
            log.append(vec![event(&name, n), event(&name, n + 1), event(&memory, 2)]).await,
            Err(AppendError::Full)
        ));
        assert_eq!(all(&log, "memory:1").await.2.len(), 1, "all or nothing");

        files.set_space(usize::MAX);
        let again = append(&log, vec![event(&name, n), event(&name, n + 1)]).await;
        assert!(again.iter().all(|answer| !answer.duplicate));
        assert_eq!(log.health(), Health::Ready);
        log.close().await;
        let (log, report) = open(&files, &options, &clock);
        assert!(report.clean && !report.is_damaged() && report.torn_bytes_cut == 0, "space {space}: {report}");
        assert_eq!(all(&log, "user:1").await.2.len() as u64, stored + 2);
    }
}

/// Retention can free space on a disk without any, and a log can be opened on it.
#[tokio::test]
async fn a_full_disk_does_not_stop_retention_nor_a_restart() {
    let clock = Clock::manual(START_MS);
    let files = SimulatedFiles::new(1);
    let retention = Retention { age_max: Some(Duration::from_secs(60)), events_max: None, bytes_max: None };
    let fallback = TopicPolicy { retention, ..TopicPolicy::default() };
    let options = Options { policies: Policies { fallback, ..Policies::default() }, ..small() };
    let (log, _) = open(&files, &options, &clock);
    let name = topic("user:1");
    for n in 0..100 {
        append(&log, vec![event(&name, n)]).await;
    }
    files.set_space(files.used_bytes());
    let refused = log.append(vec![event(&name, 100)]).await;
    assert!(matches!(refused, Err(AppendError::Full)), "{refused:?}");
    log.close().await;

    let (log, report) = open(&files, &options, &clock);
    assert!(report.clean, "{report}");
    assert_eq!(all(&log, "user:1").await.2.len(), 100);
    clock.advance(Duration::from_secs(120));
    log.upkeep().unwrap();
    assert!(log.stats().segments == 1 && files.used_bytes() < 100_000);
    append(&log, vec![event(&name, 100)]).await;
    assert_eq!(all(&log, "user:1").await.1, 100, "the floor");
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_taken_until_reopened() {
    let clock = Clock::manual(START_MS);
    let files = SimulatedFiles::new(1);
    let (log, _) = open(&files, &small(), &clock);
    let name = topic("user:1");
    for n in 0..20 {
        append(&log, vec![event(&name, n)]).await;
    }
    files.fail_syncs(true);
    let failed = log.append(vec![event(&name, 20)]).await;
    assert!(matches!(failed, Err(AppendError::Failed(_))), "{failed:?}");
    files.fail_syncs(false);
    let later = log.append(vec![event(&name, 21)]).await;
    assert!(matches!(later, Err(AppendError::Failed(_))), "a later sync proves nothing: {later:?}");
    assert!(matches!(log.health(), Health::Refusing(_)));
    assert_eq!(all(&log, "user:1").await.2.len(), 20, "reading goes on, without what may be lost");
    drop(log);

    // What the kernel shows and the device does not have is made durable before it is served.
    let (log, report) = open(&files, &small(), &clock);
    assert!(!report.clean && !report.is_damaged(), "{report}");
    let served = all(&log, "user:1").await.2.len();
    assert!(served == 20 || served == 21);
    let files = files.lose_power();
    drop(log);
    let (log, report) = open(&files, &small(), &clock);
    assert!(!report.is_damaged() && report.epochs_changed == 0, "{report}");
    assert_eq!(all(&log, "user:1").await.2.len(), served);
    append(&log, vec![event(&name, 21)]).await;
}

#[tokio::test]
async fn a_failing_device_is_named_and_nothing_more_is_taken() {
    let clock = Clock::manual(START_MS);
    let files = SimulatedFiles::new(1);
    let (log, _) = open(&files, &small(), &clock);
    let name = topic("user:1");
    append(&log, vec![event(&name, 1)]).await;
    files.fail_writes(true);
    let waiting: Vec<_> = (2..6).map(|n| log.append(vec![event(&name, n)])).collect();
    for call in waiting {
        let failed = call.await.unwrap_err();
        assert!(failed.to_string().contains("segment-0000000001.log"), "{failed}");
    }
    assert!(log.stats().refused_total >= 1);
}

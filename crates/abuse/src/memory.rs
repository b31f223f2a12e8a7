//! The server's memory over the campaign.

use std::time::Duration;

use towline_harness::Binary;

/// What the allocator and the kernel keep back after a storm, beyond the level before it.
const SLACK_BYTES: u64 = 16 << 20;
/// How long the server may take to give memory back.
const RETURN_MAX: Duration = Duration::from_secs(60);

/// The server's resident bytes at the moments that matter.
#[derive(Debug)]
pub struct Memory {
    pub before: u64,
    pub peak: u64,
    pub after: u64,
}

impl Memory {
    /// The level before the attacks.
    pub fn begin(server: &Binary) -> Self {
        let before = server.resident_bytes();
        Self { before, peak: before, after: before }
    }

    /// Looks while the attacks go on.
    pub fn sample(&mut self, server: &Binary) {
        self.peak = self.peak.max(server.resident_bytes());
    }

    /// Waits until the server is back at its level, or has had its time.
    pub async fn settle(&mut self, server: &Binary) {
        let pause = Duration::from_millis(500);
        let mut waited = Duration::ZERO;
        loop {
            self.after = server.resident_bytes();
            if self.returned() || waited > RETURN_MAX {
                return;
            }
            tokio::time::sleep(pause).await;
            waited += pause;
        }
    }

    /// Whether it is back at its level: a tenth and some slack above the level before.
    pub fn returned(&self) -> bool {
        self.after <= self.before + self.before / 10 + SLACK_BYTES
    }
}

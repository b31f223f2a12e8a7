//! Opens many connections with a bounded number in flight, and waits until each has said that it is subscribed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use towline_clock::Clock;

use super::{Arrival, Loader, Opening};

/// Connections that are being opened at the same time: enough to keep a server busy, few enough for any accept queue.
const OPENING_MAX: usize = 64;
/// How long one crowd may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// One connection of a crowd.
#[derive(Clone, Copy, Debug)]
pub struct Joined {
    /// The loader's identity of it.
    pub id: usize,
    /// From connect to the confirmation, seen from the loader.
    pub took: Duration,
}

struct Waiting {
    at: usize,
    since: Duration,
    ready_when: Option<&'static [u8]>,
}

/// Opens `count` connections; the answer is in the order of `opening`'s argument. Any refusal ends the attempt with its reason.
pub fn gather(
    loader: &mut Loader,
    clock: &Clock,
    address: SocketAddr,
    count: usize,
    mut opening: impl FnMut(usize) -> Opening,
) -> Result<Vec<Joined>> {
    let until = clock.uptime() + DEADLINE;
    let mut joined = vec![Joined { id: 0, took: Duration::ZERO }; count];
    let mut waiting: HashMap<usize, Waiting> = HashMap::new();
    let mut started = 0;
    let mut done = 0;
    let mut trouble: Option<String> = None;
    while done < count {
        while started < count && waiting.len() < OPENING_MAX {
            let opening = opening(started);
            let ready_when = opening.ready_when;
            let since = clock.uptime();
            let id = loader.connect(address, opening).context("connecting")?;
            waiting.insert(id, Waiting { at: started, since, ready_when });
            started += 1;
        }
        loader.pump(Duration::from_millis(100), |id, arrival, _| {
            let Some(one) = waiting.get(&id) else { return };
            let ready = match arrival {
                Arrival::Open => one.ready_when.is_none(),
                Arrival::Message(text) | Arrival::Line(text) => {
                    one.ready_when.is_some_and(|sign| text.windows(sign.len()).any(|window| window == sign))
                }
                Arrival::Refused(why) => {
                    trouble.get_or_insert_with(|| String::from_utf8_lossy(&why[..why.len().min(300)]).into_owned());
                    false
                }
                Arrival::Closed(why) => {
                    trouble.get_or_insert_with(|| why.to_owned());
                    false
                }
            };
            if ready {
                joined[one.at] = Joined { id, took: clock.uptime() - one.since };
                waiting.remove(&id);
                done += 1;
            }
        })?;
        if let Some(why) = trouble {
            bail!("connection {done} of {count} was refused: {why}");
        }
        if clock.uptime() > until {
            bail!("only {done} of {count} connections were ready after {} s", DEADLINE.as_secs());
        }
    }
    Ok(joined)
}

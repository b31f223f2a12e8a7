//! Figures of runs and brakes.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use towline_protocol::ErrorCode;
use towline_runs::{Counts, RunState, Scope};

use super::labels::{Code, RunStateLabel, ScopeLabel};

/// Why an event is refused because of its run.
const REFUSALS: [ErrorCode; 3] = [ErrorCode::RunStopped, ErrorCode::RunEnded, ErrorCode::BrakeEngaged];

/// What is counted of runs.
#[derive(Debug, Default)]
pub(super) struct RunMetrics {
    states: Family<RunStateLabel, Gauge>,
    brakes_engaged: Gauge,
    stops: Family<ScopeLabel, Counter>,
    refusals: Family<Code, Counter>,
}

impl RunMetrics {
    pub fn register(&self, own: &mut Registry) {
        // From the beginning, at zero: an alert on a rate needs the first one too.
        for scope in Scope::KINDS {
            drop(self.stops.get_or_create(&ScopeLabel { scope }));
        }
        for code in REFUSALS {
            drop(self.refusals.get_or_create(&Code { code: code.as_str() }));
        }
        own.register("runs", "Runs known, by state", self.states.clone());
        own.register("brakes_engaged", "Brakes engaged now", self.brakes_engaged.clone());
        own.register("run_stops", "Runs stopped, by the scope of the stop", self.stops.clone());
        own.register("run_refusals", "Published events refused because of their run, by code", self.refusals.clone());
    }

    pub fn set(&self, counts: &Counts) {
        for (state, count) in RunState::ALL.iter().zip(counts.runs) {
            self.states.get_or_create(&RunStateLabel { state: state.as_str() }).set(count.cast_signed());
        }
        self.brakes_engaged.set(counts.brakes_engaged.cast_signed());
    }

    pub fn stopped(&self, scope: &'static str, runs: usize) {
        if runs > 0 {
            self.stops.get_or_create(&ScopeLabel { scope }).inc_by(runs as u64);
        }
    }

    pub fn refused(&self, code: ErrorCode) {
        if REFUSALS.contains(&code) {
            self.refusals.get_or_create(&Code { code: code.as_str() }).inc();
        }
    }
}

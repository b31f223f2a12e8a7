//! Runs and brakes: whether an event of an agent's execution is still taken, and what is said when that changes.
//!
//! A state machine without I/O, locks or a runtime: a question or an order and a moment go in, a decision and the events to append come
//! out, in the order in which they must stand in the log. Whoever asks appends them before it lets anybody else ask, so that the log's
//! order is the order of the decisions.
//!
//! Orders of a crash are chosen so that a torn append errs on the safe side: a stop's state stands before its notices, a resumption's
//! notices before its state.

mod admission;
mod brake;
mod braking;
mod limits;
mod load;
mod moment;
mod notice;
mod registry;
mod resume;
mod run;
mod scope;
mod stop;
mod upkeep;
mod view;

pub use admission::{ACKNOWLEDGED, Effects, Glance, Question};
pub use brake::BrakeState;
pub use braking::Braked;
pub use limits::{Limits, RUN_ID_BYTES_MAX, TOPICS_MAX};
pub use moment::Moment;
pub use notice::{KIND_BRAKE, KIND_RUN, STATE_TOPIC};
pub use registry::{Begin, Registry};
pub use resume::{Resumption, ResumptionOutcome};
pub use run::{RunEnd, RunFacts, RunState, RunStop};
pub use scope::{Actor, ActorKind, Scope};
pub use stop::Stopped;
pub use view::{BrakeView, Counts, Filter, RunView, StuckTask};

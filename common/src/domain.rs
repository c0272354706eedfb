//! The vocabulary: pure values, no I/O, no async, no provider's shapes.

mod budget;
mod circumstances;
mod conversation;
mod handoff;
mod ids;
mod inbound;
mod money;
mod names;
mod states;
mod tally;
mod time;

pub use budget::Budget;
pub use circumstances::Circumstances;
pub use conversation::{Author, Floor, Line, Speaker};
pub use handoff::{Call, Evidence, Priority};
pub use ids::{
    AttemptId, ContactId, ConversationId, DeadId, EventId, HandoffId, Identity, InstanceId, NoticeId, ParseIdError,
    ReplayId, SendId, TurnId, WorkerId,
};
pub use inbound::{Address, Consent, Content, Event, Inbound, Kind, Party, Receipt, Status, StatusUpdate};
pub use money::{Charge, Money, NotMoney, Prices, Usage};
pub use names::{BadSourceName, Provider, SourceName, UnknownProvider};
pub use states::{
    DeadState, End, ItemState, NoticeKind, NoticeState, ReplayMode, ReplayState, SendState, Sla, UnknownState,
};
pub use tally::{Span, Tally};
pub use time::Micros;

//! What a real dockerd says where nobody would notice at once if it were said differently: events with their attributes,
//! and the fields of `info`, `version` and answers in old versions of the API. Recorded from dockerd 28.5, where that is
//! here, and held against this daemon.

#[path = "likeness/events.rs"]
mod events;
#[path = "likeness/foreign.rs"]
mod foreign;
#[path = "likeness/logins.rs"]
mod logins;
#[path = "likeness/recorded.rs"]
mod recorded;
#[path = "likeness/reload.rs"]
mod reload;
#[path = "likeness/shapes.rs"]
mod shapes;
#[path = "likeness/texts.rs"]
mod texts;

type Test = anyhow::Result<()>;

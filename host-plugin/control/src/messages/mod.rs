//! What goes over the wire, one file per topic; [`message`] is the envelope that holds them all, and the table of
//! requests and their replies.

pub mod breakpoints;
pub mod code;
pub mod filters;
pub mod ids;
pub mod message;
pub mod rules;
pub mod session;
pub mod state;
pub mod status;
pub mod stop;
pub mod stream;
pub mod transactions;

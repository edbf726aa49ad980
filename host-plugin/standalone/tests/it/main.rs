//! The host with filters written as text, a client that sends what a test says, and debuggers over
//! connections inside the process.

#![forbid(unsafe_code)]

mod clients;
mod control;
mod filters;
mod foreign;
mod machines;
mod messages;
mod playing;
mod reports;
mod stage;

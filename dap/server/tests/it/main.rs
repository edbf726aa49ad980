//! Adapters in memory: a client over pipes, filters launched in this process.

#![forbid(unsafe_code)]

mod client;
mod expressions;
mod files;
mod pages;

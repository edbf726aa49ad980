//! Adapters in memory: a client over pipes, proxies in memory, filters launched in this process.

#![forbid(unsafe_code)]

mod client;
mod ends;
mod expressions;
mod files;
mod inspecting;
mod messages;
mod pages;
mod proxy;
mod recording;
mod running;

//! The ABI and the fast lane, driven as a proxy drives them, without one.

mod double;
mod examples;

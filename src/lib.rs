//! Everything of dkimctl that acts: keys, secrets, signers, DNS, reports.
//!
//! Read [`advance`] first: the loop that every command and cron run through. [`world`] is the only match from a step
//! to its effect.

pub mod advance;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod container;
pub mod demo;
pub mod dmarc;
pub mod dns;
pub mod doctor;
pub mod drift;
pub mod embedded_dns;
pub mod files;
pub mod guarded;
pub mod host;
pub mod hygiene;
pub mod keygen;
pub mod mail;
pub mod observe;
pub mod placement;
pub mod post;
mod primes;
pub mod receipts;
pub mod report;
pub mod sealing;
pub mod secrets;
pub mod signers;
pub mod spf;
pub mod stack;
pub mod vault;
pub mod world;

#[cfg(test)]
mod leak_tests;

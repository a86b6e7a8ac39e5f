//! Everything of dkimctl that acts: keys, secrets, signers, DNS, reports.

pub mod files;
pub mod hygiene;
pub mod keygen;
mod primes;
pub mod sealing;
pub mod secrets;
pub mod vault;

#[cfg(test)]
mod leak_tests;

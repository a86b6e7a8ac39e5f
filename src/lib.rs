pub mod host;
pub mod signers;

pub mod signers;

//! Postfix: as it is written ([`main_cf`]), and as it is in force ([`effective`]).

pub mod effective;
pub mod main_cf;
pub mod networks;

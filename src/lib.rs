pub mod embedded_dns;
pub mod observe;
pub fn nothing() {}

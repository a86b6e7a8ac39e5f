//! docs/doctor.md lists what the catalogue lists.

use super::explain::severity_name;
use crate::doctor::catalog::CHECKS;

#[test]
fn the_table_of_checks_is_the_catalogue() {
    let page = include_str!("../../../docs/doctor.md");
    let row = |check: &crate::doctor::catalog::Check| {
        format!("| {} | {} | {} |", check.id, severity_name(check.severity), check.title)
    };
    let wanted: Vec<String> = CHECKS.iter().map(row).collect();
    let ids: Vec<&str> = CHECKS.iter().map(|check| check.id).collect();
    let is_row =
        |line: &&str| line.strip_prefix("| ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
    let written: Vec<&str> = page.lines().filter(is_row).collect();
    assert_eq!(written, wanted, "write these rows: {ids:?}");
}

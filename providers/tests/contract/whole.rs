//! What is asked of every DNS host, as one list: each behaviour with the rows of the table, or the tests elsewhere, that
//! show it. Elsewhere is what a host alone has no part in: what name servers serve, when a record may go, where a name
//! leads, a kill between a change and its record.

use std::path::Path;

use super::table::table;

enum Shown {
    /// A row of the table.
    Row(&'static str),
    /// Tests in a file of this repository.
    Tests(&'static str, &'static [&'static str]),
}

use Shown::{Row, Tests};

const CLOUDFLARE: &str = "providers/tests/contract/cloudflare.rs";
const ROUTE53: &str = "providers/tests/contract/route53.rs";
const HERE: &str = "providers/tests/contract.rs";
const BY_CRATE: &str = "providers/src/dnsupdate/adapter_tests.rs";
const SERVERS: &str = "src/observe/tests.rs";
const LIFECYCLE: &str = "state/src/lifecycle/rotation_tests.rs";

#[rustfmt::skip]
const WHOLE: &[(&str, &[Shown])] = &[
    ("what others keep at a name stays as it is, octet for octet", &[
        Row("foreign value, publish"), Row("foreign value, retire"), Row("foreign chunks"),
        Tests(CLOUDFLARE, &["a_bare_foreign_value_keeps_its_id_its_form_and_its_ttl"]),
    ]),
    ("what is done is not done again", &[
        Row("publish"), Row("retire"),
        Tests(CLOUDFLARE, &["a_fleet_is_one_batch_per_two_hundred_records_and_nothing_the_second_time"]),
    ]),
    ("the same text in other quotes or chunks is the same value", &[
        Row("other chunking, publish"), Row("twice in other chunks"),
        Tests(CLOUDFLARE, &["a_bare_value_of_ours_is_found_and_removed"]),
    ]),
    ("a value in other chunks is replaced and removed as it stands there", &[
        Row("other chunking, new TTL"), Row("other chunking, retire"), Row("other chunking, unknown to the planner"),
    ]),
    ("a value that differs by one character is not removed", &[Row("one character differs")]),
    ("two keys at the selector are refused and named", &[
        Row("two keys beforehand"), Tests("tests/badinput/selector.rs", &["two_values_at_the_selector"]),
    ]),
    ("an identical record that came meanwhile is as good as ours", &[
        Row("cut off before"), Tests(CLOUDFLARE, &["an_identical_record_that_came_meanwhile_is_as_good_as_ours"]),
    ]),
    ("a TTL alone can be changed", &[Row("TTL only")]),
    ("a replacement that is refused leaves the old value", &[
        Row("replacement refused"), Tests(BY_CRATE, &["a_refused_replacement_leaves_the_old_value"]),
    ]),
    ("one bad change in a batch is named, and the others are applied", &[
        Row("one bad in a batch"),
        Tests(CLOUDFLARE, &["one_bad_record_is_found_and_the_others_are_written"]),
        Tests(HERE, &["one_forbidden_name_does_not_hold_up_the_others"]),
    ]),
    ("calls are packed to the host's limits: Route 53", &[
        Tests(ROUTE53, &["seventy_seven_keys_of_2048_bits_fit_one_call", "a_replacement_counts_both_values",
                         "a_fleet_is_packed_and_nothing_is_written_the_second_time"]),
    ]),
    ("calls are packed to the host's limits: 2,000 selectors in 17 UPDATEs", &[
        Tests(HERE, &["a_fleet_is_packed"]),
        Tests("providers/src/rfc2136/message_tests.rs", &["two_thousand_selectors_of_2048_bits_take_at_most_17_messages"]),
    ]),
    ("a kill between a change and its record: the next run converges", &[
        Row("cut off before"), Tests("tests/hosts/killed.rs", &["at_bind", "at_powerdns", "at_cloudflare", "at_route53"]),
    ]),
    ("a lost answer is unknown, and looked at before anything is done again", &[
        Tests(CLOUDFLARE, &["a_lost_answer_is_unknown_and_the_next_run_finds_it_done"]),
        Tests(ROUTE53, &["a_lost_answer_never_makes_two"]),
        Tests("providers/src/rfc2136/words_tests.rs", &["a_lost_answer_is_unknown_and_stops_the_run"]),
    ]),
    ("Retry-After is waited for once; a day is not sat out", &[
        Tests(CLOUDFLARE, &["seven_seconds_are_waited_once", "a_daily_limit_stops_the_run_and_the_next_one_goes_on"]),
    ]),
    ("throttling is sat out, and for ever it is an error with a type", &[
        Tests(ROUTE53, &["throttled_three_times_is_done_and_for_ever_is_a_typed_error"]),
        Tests(CLOUDFLARE, &["throttling_for_ever_is_a_typed_error"]),
    ]),
    ("a change that the host has taken and not performed keeps its name waiting", &[
        Tests(ROUTE53, &["a_change_settles_when_all_servers_have_it"]),
        Tests("src/dns_tests.rs", &["a_change_that_is_pending_keeps_its_name_waiting"]),
    ]),
    ("what came between plan and apply is never overwritten", &[
        Row("concurrent edit"), Row("concurrent publish"), Tests(ROUTE53, &["what_came_meanwhile_is_never_overwritten"]),
    ]),
    ("the zone is the longest suffix on a label boundary", &[
        Tests(HERE, &["a_name_lies_in_the_longest_zone_that_ends_it"]),
    ]),
    ("U-labels, upper case and a last dot are one name", &[Row("upper case and U-labels")]),
    ("of twins the public zone; pending zones and records of any type do no harm", &[
        Tests(ROUTE53, &["of_twins_the_public_one_is_taken_and_two_public_ones_are_refused"]),
        Tests(CLOUDFLARE, &["zones_of_every_kind_and_page_are_seen"]),
        Tests("providers/src/cloudflare_tests.rs", &["a_record_of_any_type_can_stand_beside"]),
    ]),
    ("many pages are all seen", &[Tests(CLOUDFLARE, &["many_records_over_many_pages_are_all_seen"])]),
    ("an alias is refused where servers ignore it; into a zone of ours it is followed; a loop is an error", &[
        Row("alias"), Row("alias meanwhile"),
        Tests("tests/hosts/delegation.rs", &["keys_of_a_customer_are_rotated_in_a_zone_of_ours",
                                             "a_chain_that_bites_its_tail_is_an_error"]),
    ]),
    ("a wildcard is not our record", &[
        Row("wildcard"), Row("wildcard with our text"), Tests(SERVERS, &["a_wildcard_is_shown_as_what_it_says"]),
    ]),
    ("weighted, alias and other sets of Route 53 are left alone", &[
        Tests(ROUTE53, &["a_routing_policy_or_an_alias_is_left_alone_with_its_reason"]),
    ]),
    ("each way in which a server says no has its own sentence, without a secret", &[
        Tests(HERE, &["each_no_has_its_own_sentence"]),
        Tests("tests/badinput/tsig.rs", &["a_key_name_that_the_server_does_not_know", "another_secret", "clocks_that_differ",
              "an_update_policy_that_does_not_let_us", "a_zone_that_the_server_does_not_have", "a_port_where_nobody_listens"]),
        Tests(BY_CRATE, &["what_a_host_says_is_told_apart"]),
    ]),
    ("missing rights are an error of their own", &[
        Tests(CLOUDFLARE, &["each_missing_right_has_its_sentence_and_no_sentence_holds_the_token"]),
        Tests(ROUTE53, &["wrong_credentials_have_a_sentence_without_them"]),
    ]),
    ("a name outside of the zone is an error, and no panic", &[Row("outside")]),
    ("name servers: a stale one is named, NXDOMAIN waits, SERVFAIL is a reason, TC goes to TCP, silence is unknown", &[
        Tests(SERVERS, &["a_stale_server_is_named", "absence_on_one_server_is_absence_there",
              "what_could_not_be_asked_is_unknown_each_with_its_reason", "a_long_answer_comes_over_tcp_and_chunks_do_not_matter"]),
        Tests("tests/observe.rs", &["a_secondary_that_was_not_told_is_seen_to_lag", "a_lame_delegation_is_unknown_and_named"]),
    ]),
    ("no resolver is asked for a name before it is published, and afterwards negative caches are waited for", &[
        Tests(SERVERS, &["the_resolver_is_asked_for_zones_and_servers_only"]),
        Tests(LIFECYCLE, &["a_rotation_by_the_clock", "whoever_had_the_selector_before_is_waited_for_in_caches"]),
    ]),
    ("retirement: after its window, of our value only, and the name goes with it", &[
        Row("retire"), Row("foreign value, retire"),
        Tests(LIFECYCLE, &["a_rotation_by_the_clock", "a_key_that_is_still_used_keeps_its_record",
              "a_compromise_switches_first_and_then_empties"]),
    ]),
    ("what a host cannot hold is refused before anything is published", &[
        Row("4096 bits, no room"), Row("another TTL"),
        Tests("src/config/tests.rs", &["every_mistake_says_where_and_what_instead"]),
        Tests("src/world_tests.rs", &["a_record_that_one_provider_cannot_hold_is_published_at_none"]),
        Tests(CLOUDFLARE, &["a_fleet_is_one_batch_per_two_hundred_records_and_nothing_the_second_time"]),
    ]),
];

/// Nothing is claimed that is not tried: every row is in the table, and every test is one.
#[test]
fn every_behaviour_is_shown_somewhere() {
    let rows: Vec<&str> = table().iter().map(|row| row.name).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (behaviour, shown) in WHOLE {
        println!("{behaviour}");
        assert!(!shown.is_empty(), "{behaviour}");
        for place in *shown {
            match place {
                Row(row) => {
                    println!("    row: {row}");
                    assert!(rows.contains(row), "{behaviour}: no row `{row}`");
                }
                Tests(file, names) => {
                    let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
                    for name in *names {
                        println!("    {file}: {name}");
                        assert!(
                            text.contains(&format!("#[test]\nfn {name}()")),
                            "{behaviour}: no test {name} in {file}"
                        );
                    }
                }
            }
        }
    }
}

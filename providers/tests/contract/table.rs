//! The rows.

use dkimctl_providers::AtName;

use super::rows::Expect::{Already, Applied, Conflict, Outside, Refused};
use super::rows::{BY_CRATE, KEY, Row, add, chunked, remove, replace, row, txt};

/// A DKIM record of a 2048-bit key: 410 octets, two chunks.
pub fn dkim(filler: char) -> String {
    format!("v=DKIM1; k=rsa; p={}", filler.to_string().repeat(392))
}

/// Hosts of the crate that keep chunks.
const CHUNKS: &[&str] = &["bind by crate", "powerdns by crate", "desec"];

pub fn table() -> Vec<Row> {
    let (a, b) = (&*dkim('A'), &*dkim('B'));
    let (a200, almost) = (&[chunked(a, 200)], &a.replacen('A', "a", 1));
    let spf = "v=spf1 -all";
    let verification = "google-site-verification=abc";
    vec![
        row("publish", "a new selector appears, in chunks of 255, and a second run writes nothing")
            .and(BY_CRATE)
            .apply(vec![add(KEY, a, 300)], &[Applied])
            .quietly(vec![add(KEY, a, 300)], &[Already])
            .holds(KEY, 300, &[chunked(a, 255)]),
        row("retire", "our value goes, the name with it, and a second run writes nothing")
            .and(BY_CRATE)
            .put(KEY, 300, &[chunked(a, 255)])
            .apply(vec![remove(KEY, a)], &[Applied])
            .quietly(vec![remove(KEY, a)], &[Already])
            .gone(KEY),
        row("foreign value, publish", "what others keep at the name stays as it is")
            .put("apex", 600, &[vec![spf.into()], vec![verification.into()]])
            .apply(vec![replace("apex", spf, "v=spf1 mx -all", 600)], &[Applied])
            .holds("apex", 600, &[vec!["v=spf1 mx -all".into()], vec![verification.into()]]),
        row("foreign value, retire", "removing ours leaves theirs")
            .put("apex", 600, &[vec![spf.into()], vec![verification.into()]])
            .apply(vec![remove("apex", spf)], &[Applied])
            .holds("apex", 600, &[vec![verification.into()]]),
        row("foreign chunks", "a foreign value in odd chunks is not rewritten when ours is added beside it")
            .put("apex", 600, &[chunked(b, 100)])
            .apply(vec![add("apex", spf, 600)], &[Applied])
            .holds("apex", 600, &[chunked(b, 100), vec![spf.into()]]),
        row("other chunking, publish", "the same text in chunks of 200 is the same text: one record, no write")
            .and(CHUNKS)
            .put(KEY, 300, a200)
            .quietly(vec![add(KEY, a, 300)], &[Already])
            .holds(KEY, 300, a200),
        row("other chunking, new TTL", "one record at the end, never two (two would be a permerror)")
            .put(KEY, 300, a200)
            .apply(vec![add(KEY, a, 900)], &[Applied])
            .holds(KEY, 900, &[chunked(a, 255)]),
        row("other chunking, retire", "removal goes by the chunks that stand there, or it would do nothing in silence")
            .and(CHUNKS)
            .put(KEY, 300, a200)
            .apply(vec![remove(KEY, a)], &[Applied])
            .gone(KEY),
        row("other chunking, unknown to the planner", "what was seen is compared as text, not as chunks")
            .and(CHUNKS)
            .put(KEY, 300, a200)
            .apply_seen(vec![(replace(KEY, a, b, 300), txt(300, &[a]))], &[Applied])
            .holds(KEY, 300, &[chunked(b, 255)]),
        row("twice in other chunks", "two copies that differ in chunks alone become one")
            .put(KEY, 300, &[chunked(a, 200), chunked(a, 255)])
            .apply(vec![add(KEY, a, 300)], &[Applied])
            .holds(KEY, 300, &[chunked(a, 255)]),
        row("one character differs", "what is not the value that was planned for is not removed")
            .and(BY_CRATE)
            .put(KEY, 300, &[chunked(almost, 255)])
            .apply_seen(vec![(remove(KEY, a), txt(300, &[a]))], &[Conflict])
            .holds(KEY, 300, &[chunked(almost, 255)]),
        row("TTL only", "the TTL really changes")
            .put(KEY, 300, &[chunked(a, 255)])
            .apply(vec![add(KEY, a, 1200)], &[Applied])
            .holds(KEY, 1200, &[chunked(a, 255)]),
        row("concurrent edit", "somebody changed the value between plan and apply: refused, and theirs stands")
            .and(BY_CRATE)
            .put(KEY, 300, &[chunked(a, 255)])
            .look()
            .put(KEY, 300, &[chunked(b, 255)])
            .apply(vec![replace(KEY, a, &dkim('C'), 300)], &[Conflict])
            .holds(KEY, 300, &[chunked(b, 255)]),
        row("concurrent publish", "somebody put another value at the free name: refused, and theirs stands")
            .and(BY_CRATE)
            .look()
            .put(KEY, 300, &[chunked(b, 255)])
            .apply(vec![add(KEY, a, 300)], &[Conflict])
            .holds(KEY, 300, &[chunked(b, 255)]),
        row("cut off before", "a run that was cut off had done it already: the next one sees that it is done")
            .and(BY_CRATE)
            .look()
            .put(KEY, 300, &[chunked(a, 255)])
            .apply(vec![add(KEY, a, 300)], &[Already])
            .holds(KEY, 300, &[chunked(a, 255)]),
        row("replacement refused", "a new value that the host refuses leaves the old one in its place")
            .on(&["bind", "knot", "cloudflare", "route53"])
            .put(KEY, 300, &[chunked(a, 255)])
            .apply(vec![replace(KEY, a, &"x".repeat(70_000), 300)], &[Refused])
            .holds(KEY, 300, &[chunked(a, 255)]),
        row("two keys beforehand", "two values where one is to be: nothing is added, and both are shown")
            .and(BY_CRATE)
            .put(KEY, 300, &[chunked(a, 255), chunked(b, 255)])
            .apply_seen(vec![(add(KEY, &dkim('C'), 300), AtName::Absent)], &[Conflict])
            .holds(KEY, 300, &[chunked(a, 255), chunked(b, 255)]),
        row("alias", "TXT cannot stand beside a CNAME; servers ignore it with NOERROR, we say so")
            .and(BY_CRATE)
            .alias(KEY, "s1.elsewhere.example.")
            .apply(vec![add(KEY, a, 300)], &[Conflict]),
        row("alias meanwhile", "the same, when the alias came after the plan")
            .and(BY_CRATE)
            .look()
            .alias(KEY, "s1.elsewhere.example.")
            .apply(vec![add(KEY, a, 300)], &[Conflict]),
        row("wildcard", "a wildcard makes the name look taken; our record is written all the same")
            .on(&["zonefile", "bind", "knot", "powerdns", "cloudflare", "route53", "moto", "ministack"])
            .and(&["powerdns by crate", "desec", "digitalocean"])
            .put("*", 300, &[vec!["wild".into()]])
            .apply(vec![add(KEY, a, 300)], &[Applied])
            .quietly(vec![add(KEY, a, 300)], &[Already])
            .holds(KEY, 300, &[chunked(a, 255)])
            .apply(vec![remove(KEY, a)], &[Applied]),
        row("wildcard with our text", "even one that shows the very same does not count as published")
            .on(&["bind", "knot", "powerdns"])
            .put("*", 300, &[chunked(a, 255)])
            .apply(vec![add(KEY, a, 300)], &[Applied])
            .quietly(vec![add(KEY, a, 300)], &[Already])
            .apply(vec![remove(KEY, a)], &[Applied]),
        row("one bad in a batch", "the others are applied and the bad one is named")
            .and(BY_CRATE)
            .put("s3._domainkey", 300, &[vec!["theirs".into()]])
            .apply_seen(
                (1..=5).map(|i| (add(&format!("s{i}._domainkey"), a, 300), AtName::Absent)).collect(),
                &[Applied, Applied, Conflict, Applied, Applied],
            )
            .holds("s3._domainkey", 300, &[vec!["theirs".into()]])
            .holds("s5._domainkey", 300, &[chunked(a, 255)]),
        row("outside", "a name that is not in the zone is an error of its own, and the others are applied")
            .and(BY_CRATE)
            .apply_seen(
                vec![(add("..not-in-zone.test", a, 300), AtName::Absent), (add(KEY, a, 300), AtName::Absent)],
                &[Outside, Applied],
            )
            .holds(KEY, 300, &[chunked(a, 255)]),
        row("two changes of one name", "the second one is planned upon what the first leaves")
            .and(BY_CRATE)
            .put(KEY, 300, &[chunked(a, 255)])
            .apply_seen(
                vec![(replace(KEY, a, b, 300), txt(300, &[a])), (remove(KEY, b), txt(300, &[b]))],
                &[Applied, Applied],
            )
            .gone(KEY),
        row("upper case and U-labels", "names are A-labels in lower case wherever they come from")
            .and(BY_CRATE)
            .apply(vec![add("S1._DomainKey.BÜCHER", a, 300)], &[Applied])
            .quietly(vec![add("s1._domainkey.xn--bcher-kva", a, 300)], &[Already])
            .holds("s1._domainkey.xn--bcher-kva", 300, &[chunked(a, 255)]),
        row("any octet", "quotes, backslashes, semicolons and what is not ASCII come through")
            .apply(vec![add(KEY, "a\"b\\c;d é", 300)], &[Applied])
            .quietly(vec![add(KEY, "a\"b\\c;d é", 300)], &[Already])
            .holds(KEY, 300, &[vec!["a\"b\\c;d é".into()]]),
        row("4096 bits", "a text of three chunks")
            .and(CHUNKS)
            .apply(vec![add(KEY, &dkim('A').repeat(2), 300)], &[Applied])
            .holds(KEY, 300, &[chunked(&dkim('A').repeat(2), 255)]),
        row("4096 bits, no room", "a text that is longer than the host's texts is refused before anything is sent")
            .on(&["digitalocean"])
            .quietly(vec![add(KEY, &dkim('A').repeat(2), 300)], &[Refused])
            .gone(KEY),
        row("shared name", "where others may keep values nothing is set as a whole, though ours is the only one now")
            .on(BY_CRATE)
            .put("apex", 300, &[vec![spf.into()]])
            .quietly(vec![replace("apex", spf, "v=spf1 mx -all", 300), remove("apex", spf)], &[Refused, Refused])
            .holds("apex", 300, &[vec![spf.into()]]),
        row("sibling", "nor at a selector, once a second value stands there")
            .on(BY_CRATE)
            .put(KEY, 300, &[chunked(a, 255), chunked(b, 255)])
            .quietly(vec![remove(KEY, a)], &[Refused])
            .holds(KEY, 300, &[chunked(a, 255), chunked(b, 255)]),
        row("another TTL", "a TTL that could not be read back is not written")
            .on(BY_CRATE)
            .quietly(vec![add(KEY, a, 900)], &[Refused])
            .gone(KEY),
        row("octets that may be harmed", "quotes, backslashes and what is not ASCII are not tried")
            .on(BY_CRATE)
            .quietly(vec![add(KEY, "a\"b", 300)], &[Refused])
            .quietly(vec![add(KEY, "a\\b", 300)], &[Refused])
            .quietly(vec![add(KEY, "é", 300)], &[Refused])
            .gone(KEY),
    ]
}

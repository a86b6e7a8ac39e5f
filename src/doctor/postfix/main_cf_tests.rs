use proptest::prelude::*;

use super::*;

#[test]
fn lines_go_on_and_the_last_one_counts() {
    let main = MainCf::parse("# c\na = 1\n  # between\n\n  2\nb=$a,x\na = 3\n\t4\nbroken line\n");
    assert_eq!((main.value("a"), main.get("a").unwrap().line), (Some("3 4"), 7));
    assert_eq!(main.expanded("b").as_deref(), Some("3 4,x"));
    assert_eq!(main.broken, [(9, "broken line".to_owned())]);
    assert_eq!(MainCf::parse("  permit_mynetworks\na = 1").broken, [(1, "permit_mynetworks".to_owned())]);
}

#[test]
fn what_only_an_environment_could_fill_is_found() {
    let main = MainCf::parse(
        "x = static:${SMTP_USER}:${SMTP_PASS}\ny = $myhostname ${queue_directory}\nOWN = 1\nz = $OWN $$HOME\n\
         w = ${A?yes}${b:no}\nv = $(PAREN)\n",
    );
    let found: Vec<(&str, String)> =
        main.from_environment().into_iter().map(|(entry, name)| (entry.name.as_str(), name)).collect();
    let wanted = [("x", "SMTP_USER"), ("x", "SMTP_PASS"), ("w", "A"), ("v", "PAREN")];
    assert_eq!(found, wanted.map(|(entry, name)| (entry, name.to_owned())));
}

#[test]
fn conditions_and_loops_are_not_guessed() {
    let main = MainCf::parse("a = $a\nb = ${c?x}\nd = $nobody\n");
    for name in ["a", "b", "d"] {
        assert_eq!(main.expanded(name), None);
    }
}

#[test]
fn services_of_a_master_cf() {
    let services = master_cf("# x\nsmtp inet n - y - - smtpd\n  -o a=b\npickup unix n - n 60 1 pickup\nshort line\n");
    let seen: Vec<(&str, &str, u32)> = services.iter().map(|s| (s.name.as_str(), s.chroot.as_str(), s.line)).collect();
    assert_eq!(seen, [("smtp", "y", 2), ("pickup", "n", 4)]);
    assert_eq!(services[0].command, "smtpd -o a=b");
}

proptest! {
    #[test]
    fn any_octets_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        let main = MainCf::parse(&text);
        main.from_environment();
        for entry in &main.entries {
            main.expanded(&entry.name);
        }
        master_cf(&text);
    }

    #[test]
    fn anything_with_dollars_is_read(text in "([a-c]|\\$|\\{|\\}|\\(|\\)|=| |\n|:|\\?|é){0,120}") {
        let main = MainCf::parse(&text);
        main.from_environment();
        main.entries.iter().for_each(|entry| drop(main.expanded(&entry.name)));
    }
}

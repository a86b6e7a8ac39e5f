use super::*;
use crate::secrets::signed::SigningKey;

fn parse(more: &str) -> Result<HostSettings, String> {
    let text = format!(
        "host = \"mail\"\noutbox = \"../outbox\"\nreceipts = \"../receipts\"\nmanifest_key = \"{}\"\nidentity = \"host.age\"\n\
         keys = \"../opendkim/keys\"\nstate = \"state\"\n[signer]\ntype = \"opendkim\"\nconf = \"../mail/opendkim.conf\"\n{more}",
        SigningKey::generate().verify_key()
    );
    HostSettings::parse(Path::new("/srv/mail/host/host.toml"), &text).map_err(|error| error.to_string())
}

fn opendkim(signer: signers::Settings) -> opendkim::Settings {
    match signer {
        signers::Settings::OpenDkim(settings) => settings,
        other => panic!("{other:?}"),
    }
}

const NAMED: &str = "[container]\nname = \"mail\"\n";

#[test]
fn a_signer_in_a_container_is_told_through_it() {
    let settings =
        parse("[container]\nname = \"mail\"\n[container.mounts]\n\"/run/milter\" = \"../run/milter\"\n").unwrap();
    let signer = opendkim(settings.signer);
    let contained = signer.container.unwrap();
    assert_eq!(signer.reload, Reload::Container(contained.container.clone()));
    assert_eq!(contained.container.engine, ["docker"]);
    // Paths are compared with each other, so none of them goes up and down again.
    let socket = contained.mounts.on_host(Path::new("/run/milter/opendkim.sock"));
    assert_eq!(socket.as_deref(), Some(Path::new("/srv/mail/run/milter/opendkim.sock")));
    assert_eq!(settings.keys, Path::new("/srv/mail/opendkim/keys"));
    assert_eq!(settings.target.target.name, "directory");
}

#[test]
fn rspamd_in_a_container_has_its_paths_and_no_reload() {
    let text = |more: &str| {
        format!(
            "host = \"mail\"\noutbox = \"../outbox\"\nreceipts = \"../receipts\"\nmanifest_key = \"{}\"\nidentity = \"host.age\"\n\
             keys = \"../rspamd/keys\"\nstate = \"state\"\n[signer]\ntype = \"rspamd\"\nkey_table = \"/etc/rspamd/tables/KeyTable\"\n\
             signing_table = \"/etc/rspamd/tables/SigningTable\"\nsocket = \"local:/run/milter/rspamd.sock\"\n{more}{NAMED}",
            SigningKey::generate().verify_key()
        )
    };
    let parse = |more: &str| HostSettings::parse(Path::new("/srv/mail/host/host.toml"), &text(more));
    let settings = parse("").unwrap().signer;
    assert!(settings.container().is_some());
    let signers::Settings::Rspamd(settings) = settings else { panic!("{settings:?}") };
    assert_eq!(settings.key_table, Path::new("/etc/rspamd/tables/KeyTable"));
    // Its tables have to be edited here, and nothing says where they are.
    let error = rspamd::Rspamd::open(settings).unwrap_err();
    assert!(error.to_string().contains("name it in [container.mounts]"), "{error}");
    let error = parse("reload = [\"true\"]\n").unwrap_err();
    assert!(error.to_string().contains("there is no `reload`"), "{error}");
}

#[test]
fn without_a_container_nothing_changed() {
    let signer = opendkim(parse("").unwrap().signer);
    assert_eq!((signer.container, signer.reload), (None, Reload::Signal));
}

#[test]
fn every_target_is_chosen_by_its_name() {
    let compose =
        "file = \"../compose.keys.yaml\"\nservice = \"mail\"\nup = [\"docker\", \"compose\", \"up\", \"-d\"]\n";
    for (target, more) in [("directory", ""), ("exec", ""), ("compose", compose)] {
        let settings = parse(&format!("{NAMED}[target]\ntype = \"{target}\"\n{more}")).unwrap();
        assert_eq!(settings.target.target.name, target);
    }
    assert_eq!(
        parse("[container]\nservice = \"mail\"\n[target]\ntype = \"swarm\"\n").unwrap().target.target.name,
        "swarm"
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    let refused = |more: &str| parse(more).unwrap_err();
    assert!(refused("[target]\ntype = \"exec\"\n").contains("name it in [container]"));
    assert!(refused(&format!("{NAMED}[target]\ntype = \"swarm\"\n")).contains("write `service` in [container]"));
    assert!(refused(&format!("{NAMED}[target]\ntype = \"compose\"\n")).contains("`compose` needs `file`"));
    assert!(refused(&format!("{NAMED}[target]\ntype = \"exec\"\nfile = \"x\"\n")).contains("mean nothing to `exec`"));
    assert!(refused(&format!("{NAMED}[target]\ntype = \"exce\"\n")).contains("exec"));
    assert!(refused("[container]\nname = \"mail\"\nservice = \"mail\"\n").contains("either `name`"));
    assert!(
        refused("[container]\nname = \"mail\"\n[container.mounts]\n\"run\" = \"run\"\n").contains("begin with `/`")
    );
}

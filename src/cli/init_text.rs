//! What `init` writes and says.

use std::fmt::Write as _;

use super::init::Args;
use crate::config::Config;
use crate::secrets::signed::VerifyKey;

/// A commented dkimctl.toml.
pub fn configuration(args: &Args) -> String {
    let mut out = String::from(
        "# dkimctl: which domains sign, where their DNS is changed, who holds their keys.\n\
         # Relative paths are relative to this file. Defaults are shown behind #.\n\n\
         state = \"state\"\n\n\
         [defaults]\n\
         # selectors = [\"s1\", \"s2\"]     # keys take turns in these\n\
         # spare = \"s3\"                 # used only after a compromise\n\
         # algorithms = [\"rsa\"]         # or [\"rsa\", \"ed25519\"]\n\
         # rsa_bits = 2048\n\
         # ttl = 3600                   # seconds, of the records\n\
         provider = \"dns\"\n",
    );
    let _ = writeln!(out, "signer = {}\n", quoted(args.signer.as_str()));
    for domain in &args.domains {
        let _ = writeln!(out, "[[domain]]\nname = {}\n", quoted(domain.as_str()));
    }
    out.push_str("# Many domains: domains_file = \"domains.txt\", one name a line, above [defaults].\n\n");
    provider(&mut out, args);
    let host = args.signer.as_str();
    let _ = writeln!(
        out,
        "# The mail host: its orders go to `outbox`, its proofs come back to `receipts`.\n\
         [signer.{host}]\n\
         outbox = \"outbox/{host}\"\n\
         receipts = \"receipts/{host}\"\n\
         # receipt_key = \"dkimctl-pk-...\"  # the host prints it; receipts are believed from then on\n\
         # apply = \"/etc/dkimctl/host.toml\" # when the host is this machine\n"
    );
    out.push_str(
        "# Private keys are sealed to these before anything is published. Two are advised: the mail host, and one\n",
    );
    out.push_str("# that is kept offline. age-keygen makes one.\n[secrets]\n");
    let recipients: Vec<String> = args.recipients.iter().map(|recipient| quoted(recipient)).collect();
    let _ = writeln!(out, "recipients = [{}]", recipients.join(", "));
    if !args.recipients_files.is_empty() {
        let files: Vec<String> = args.recipients_files.iter().map(|file| quoted(&file.display().to_string())).collect();
        let _ = writeln!(out, "recipients_files = [{}]", files.join(", "));
    }
    out.push_str(
        "\n[observe]\n\
         # nameservers = [\"192.0.2.1:53\"]  # ask these instead of those that the delegation names\n\n\
         [policy]\n\
         # window = \"30d\"                 # how long an old record stays for mail under way\n\
         # rollback_grace = \"72h\"         # how long an old private key is kept\n",
    );
    out
}

fn provider(out: &mut String, args: &Args) {
    let zones: Vec<String> = args.domains.iter().map(|domain| quoted(domain.as_str())).collect();
    let zones = zones.join(", ");
    let kind = args.provider.as_deref().unwrap_or("zonefile");
    let _ = writeln!(out, "# docs/providers/{kind}.md\n[provider.dns]\ntype = {}", quoted(kind));
    match kind {
        "rfc2136" => {
            let server = args.server.as_deref().unwrap_or("ns1.example.com:53");
            let key_name = args.key_name.as_deref().unwrap_or("dkimctl");
            let secret = args.secret_file.as_ref().map_or("tsig.secret".to_owned(), |file| file.display().to_string());
            let _ = writeln!(
                out,
                "server = {}\nzones = [{zones}]\nkey_name = {}\nalgorithm = \"hmac-sha256\"\nsecret_file = {}  # mode 0600; or \
                 secret_credential, secret_env",
                quoted(server),
                quoted(key_name),
                quoted(&secret)
            );
        }
        "zonefile" => {
            let files: Vec<String> = args
                .domains
                .iter()
                .map(|domain| format!("{} = {}", quoted(domain.as_str()), quoted(&format!("zones/{domain}.dkim"))))
                .collect();
            let _ = writeln!(
                out,
                "files = {{ {} }}  # $INCLUDE them in the zone files\n# reload = [\"rndc\", \"reload\"]",
                files.join(", ")
            );
        }
        "cloudflare" | "powerdns" => {
            let secret = args.secret_file.as_ref().map_or(format!("{kind}.token"), |file| file.display().to_string());
            if kind == "powerdns" {
                let url = args.server.as_deref().unwrap_or("http://127.0.0.1:8081");
                let _ = writeln!(out, "url = {}", quoted(url));
            }
            let _ = writeln!(out, "secret_file = {}  # mode 0600; or secret_credential, secret_env", quoted(&secret));
        }
        "route53" => out.push_str("# profile = \"mail-dns\"  # otherwise the standard AWS chain decides\n"),
        "manual" => {
            let server = args.server.as_deref().unwrap_or("ns1.example.com");
            let _ = writeln!(
                out,
                "zones = [{zones}]\nnameservers = [{}]  # all of them\n# patience = \"15m\"",
                quoted(server)
            );
        }
        _ => {
            let _ = writeln!(out, "zones = [{zones}]");
        }
    }
    out.push('\n');
}

/// What to do next; ends with the next command.
pub fn next_steps(args: &Args, config: &Config, key: &VerifyKey) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "\nThe mail host pins this key (`manifest_key` in its host.toml):\n  {key}");
    for provider in config.providers.values() {
        let host = provider.descriptor();
        let _ = writeln!(out, "\n{} needs no more rights than:\n  {}", host.name, host.least_rights);
        for domain in args.domains.iter().filter(|_| !host.rights_template.is_empty()) {
            let key = args.key_name.as_deref().unwrap_or("dkimctl");
            let template = host.rights_template.replace("ZONE", domain.as_str()).replace("KEY", key);
            out.push('\n');
            for line in template.lines() {
                let _ = writeln!(out, "  {line}");
            }
        }
    }
    for (zone, file) in config.providers.values().flat_map(|provider| provider.files()) {
        let _ = writeln!(out, "\nPut this line into the zone file of {zone}:\n  $INCLUDE {}", file.display());
    }
    if args.recipients.is_empty() && args.recipients_files.is_empty() {
        let _ = writeln!(
            out,
            "\nNo recipient is set yet, and a key sealed to nobody is lost. Make one on the mail host, and write its age1... \
             line into [secrets]:\n  age-keygen -o identity.txt"
        );
    }
    let _ = writeln!(out, "\nNext:   dkimctl rotate {}", args.domains[0]);
    out
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

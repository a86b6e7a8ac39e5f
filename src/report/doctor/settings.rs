//! PF001 to PF004.

use std::path::Path;

use crate::doctor::finding::Said;
use crate::doctor::postfix::main_cf::Entry;

const NO_CHROOT: &str = "postconf -F '*/*/chroot=n'  (the container is a chroot itself)";

pub fn chroot_written(service: &str) -> Said {
    Said {
        evidence: format!(
            "{service} runs in a chroot: there /etc/resolv.conf is a copy in the queue directory, which nobody renews in \
             a container"
        ),
        fix: format!("write `n` in the fifth column, or at start: {NO_CHROOT}"),
    }
}

pub fn no_chroot() -> String {
    "no service that asks DNS runs in the chroot".to_owned()
}

pub fn chroot_is_filled(queue: &str) -> String {
    format!("{queue}/etc/resolv.conf is the container's own")
}

pub fn chroot_without_resolver(service: &str, queue: &str) -> Said {
    Said {
        evidence: format!(
            "{service} runs in the chroot {queue}, which has no etc/resolv.conf: no name is found there, mail is deferred \
             for ever, and a milter given by name is passed over"
        ),
        fix: NO_CHROOT.to_owned(),
    }
}

pub fn chroot_with_stale_resolver(service: &str, queue: &str, own: &[String], real: &[String]) -> Said {
    Said {
        evidence: format!(
            "{service} runs in the chroot {queue}, whose etc/resolv.conf is an old copy\nit has {}, the container {}",
            own.join(", "),
            real.join(", ")
        ),
        fix: format!("{NO_CHROOT}, or copy /etc/resolv.conf there before Postfix starts"),
    }
}

pub fn chroot_without_hosts(service: &str, queue: &str) -> Said {
    Said {
        evidence: format!(
            "{service} runs in the chroot {queue}, which has no etc/hosts, and a milter is given as localhost: it is not \
             found there"
        ),
        fix: format!("name the milter by address (inet:127.0.0.1:8891), or {NO_CHROOT}"),
    }
}

pub fn environment(entry: &Entry, name: &str) -> Said {
    let Entry { name: parameter, value, .. } = entry;
    Said {
        evidence: format!(
            "`{parameter} = {value}`: main.cf does not read the environment, and `{name}` is no parameter: it stands for \
             nothing"
        ),
        fix: if parameter.contains("password") {
            "let the entrypoint write a file of mode 0600 from a secret: smtp_sasl_password_maps = texthash:/run/postfix/sasl_passwd"
                .to_owned()
        } else {
            format!("let the entrypoint set it before Postfix starts: postconf -e \"{parameter}=${name}\"")
        },
    }
}

pub fn maybe_rendered(parameter: &str, name: &str, script: &Path) -> Said {
    Said {
        evidence: format!("`{parameter}` has `{name}`, which {} may fill in", script.display()),
        fix: "look at what runs: dkimctl doctor --container NAME".to_owned(),
    }
}

pub fn maybe_template(text: &str) -> Said {
    Said {
        evidence: format!("`{text}` is no line of a main.cf; this may be a template"),
        fix: "look at what runs: dkimctl doctor --container NAME".to_owned(),
    }
}

pub fn broken_line(text: &str) -> Said {
    Said {
        evidence: format!("`{text}` has no `=`: Postfix does not start with it"),
        fix: "indent a line that continues the one before, or put # in front of it".to_owned(),
    }
}

pub fn parameters_written(file: &str) -> String {
    format!("{file} refers to nothing that Postfix does not know")
}

pub fn nobody_reads(name: &str, service: &str) -> Said {
    Said {
        evidence: format!(
            "{name} is set for service {service}, and nothing reads it: that is a convention of other images"
        ),
        fix: format!(
            "remove it, and set the parameter in main.cf, or in the entrypoint: postconf -e \"{}=${name}\"",
            name.trim_start_matches("POSTFIX_").to_ascii_lowercase()
        ),
    }
}

pub fn variable_took_effect(name: &str, value: &str) -> String {
    format!("{name} took effect: {value}")
}

pub fn variable_without_effect(name: &str, value: &str, parameter: &str, seen: &str) -> Said {
    Said {
        evidence: format!(
            "{name}={value} has no effect: `{parameter}` is `{seen}`; nothing in this image reads the variable"
        ),
        fix: format!("set it in main.cf, or in the entrypoint: postconf -e \"{parameter}=${name}\""),
    }
}

pub fn complaint(complaint: &str) -> Said {
    Said {
        evidence: format!("postconf warns: {complaint}"),
        fix: "correct main.cf until `postconf -n` warns of nothing; Postfix does not read the environment".to_owned(),
    }
}

pub fn no_complaint() -> String {
    "postconf warns of nothing".to_owned()
}

pub fn accepts() -> Said {
    Said {
        evidence: "`milter_default_action = accept`: mail leaves unsigned whenever the signer does not answer"
            .to_owned(),
        fix: "milter_default_action = tempfail".to_owned(),
    }
}

pub fn no_milters() -> String {
    "no milter is configured".to_owned()
}

pub fn is_set_to(parameter: &str, value: &str) -> String {
    format!("{parameter} = {value}")
}

pub fn no_tls(value: &str) -> Said {
    let value = if value.is_empty() { "is not set".to_owned() } else { format!("= {value}") };
    Said {
        evidence: format!("`smtp_tls_security_level` {value}: mail goes out in the clear"),
        fix: "smtp_tls_security_level = may".to_owned(),
    }
}

pub fn test_certificate(file: &str) -> Said {
    Said {
        evidence: format!("the server shows Debian's test certificate ({file}), whose key lies in the image"),
        fix: "mount a certificate of your own, or offer no TLS inward: smtpd_tls_security_level = none".to_owned(),
    }
}

pub fn has_healthcheck(name: &str) -> String {
    format!("{name} has a healthcheck")
}

pub fn no_healthcheck(name: &str) -> Said {
    Said {
        evidence: format!("{name} has no healthcheck: nobody notices when the signer or Postfix is gone"),
        fix: "healthcheck: {test: [\"CMD-SHELL\", \"postfix status && pidof opendkim\"], interval: 30s}".to_owned(),
    }
}

pub fn log_to(file: &str) -> String {
    format!("the mail log goes to {file}")
}

pub fn log_by_syslog_to(file: &str) -> String {
    log_to(&format!("syslog, and to {file}"))
}

pub fn log_set_elsewhere(service: &str) -> Said {
    Said {
        evidence: format!("where service {service} logs is set elsewhere"),
        fix: "look at what runs: dkimctl doctor --container NAME".to_owned(),
    }
}

pub fn log_is_lost(file: &str) -> Said {
    let seen = match file {
        "" => "the mail log goes to syslog, and nothing that lasts takes it".to_owned(),
        file => format!("the mail log ({file}) lies in the container itself"),
    };
    Said {
        evidence: format!("{seen}: `docker logs` shows none of it, and it is gone with the container"),
        fix: "maillog_file = /dev/stdout, with `postfix start-fg`".to_owned(),
    }
}

pub fn not_asked(why: &str) -> Said {
    Said { evidence: format!("could not be looked at: {why}"), fix: String::new() }
}

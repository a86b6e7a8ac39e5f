//! RELAY, QUEUE, PF, DEV.

use super::Explained;

pub(super) const TEXTS: &[Explained] = &[
    Explained {
        id: "RELAY001",
        what: "A mail port is published on the host's public addresses, and `mynetworks` trusts the bridge that connections seem to come from.",
        why: "The engine's proxy makes connections of its own to the container: a stranger who comes by IPv6, or through Docker Desktop or rootless Docker, is seen as 172.x.0.1. If that may relay, anybody may, and the address is on every block list within a day.",
        wild: "`ports: [\"25:25\"]` with `mynetworks = 127.0.0.0/8 172.16.0.0/12`. Testers by IPv4 say `Relay access denied` and see nothing wrong.",
        fix: "Publish nothing, or on the loopback address only, and trust exactly the app's network:\n  ports: [\"127.0.0.1:587:587\"]\n  mynetworks = 127.0.0.0/8 [::1]/128 172.30.25.0/24",
        verify: "  docker port CONTAINER\n  docker exec CONTAINER postconf -h mynetworks",
    },
    Explained {
        id: "RELAY002",
        what: "`mynetworks` is not everything: no 0.0.0.0/0, no ::/0, and no public network.",
        why: "Whoever reaches the port may send anything to anybody in your name.",
        wild: "`mynetworks = 0.0.0.0/0` to make `Relay access denied` go away, in images that are configured by variables as well.",
        fix: "The exact subnet of the app, and authentication for everybody else:\n  mynetworks = 127.0.0.0/8 [::1]/128 172.30.25.0/24",
        verify: "  docker exec CONTAINER postconf -h mynetworks",
    },
    Explained {
        id: "QUEUE001",
        what: "The queue directory lies on a named volume or a directory of the host: not in the container's own layer, not on an anonymous volume, not on a tmpfs.",
        why: "Mail that was accepted and not yet delivered is gone with the container: `docker compose down`, an update, a new image.",
        wild: "A deployment while a large receiver defers mail: everything that waited is lost, and no log says so.",
        fix: "A named volume:\n  volumes: [\"postfix-queue:/var/spool/postfix\"]",
        verify: "  docker compose down && docker compose up -d && docker compose exec SERVICE postqueue -p",
    },
    Explained {
        id: "QUEUE002",
        what: "Nothing in the queue is old, and not much is deferred.",
        why: "Deferred mail says what receivers think of the server before people do.",
        wild: "Hundreds of messages with the same reason: port 25 blocked, no reverse name, a rate limit.",
        fix: "Mend the reason that stands there most often, then try again:\n  postqueue -f",
        verify: "  docker exec CONTAINER postqueue -p",
    },
    Explained {
        id: "PF001",
        what: "Services that master.cf puts into the chroot find the files they need there: etc/resolv.conf, and etc/hosts for a milter given by name.",
        why: "In the chroot /etc/resolv.conf is the queue directory's own copy. If it is missing or old, every look-up fails, mail is deferred for ever, and a milter given as `localhost` is not found: with `accept`, mail leaves unsigned.",
        wild: "Debian's master.cf has chroot on; the script that fills the chroot is run by the init script, which a container does not run. On a volume, the copy stays from another network.",
        fix: "Switch the chroot off, the container is one:\n  postconf -F '*/*/chroot=n'\nand name the milter by address: inet:127.0.0.1:8891",
        verify: "  docker exec CONTAINER postconf -F '*/*/chroot'",
    },
    Explained {
        id: "PF002",
        what: "main.cf has no parameter that Postfix does not know, and nothing that it was meant to take from the environment; POSTFIX_ variables are read by something.",
        why: "Postfix does not read the environment: `${SMTP_USER}` is a parameter of that name, and empty. The configuration is accepted with a warning, and means something else.",
        wild: "`smtp_sasl_password_maps = static:${SMTP_USER}:${SMTP_PASS}` becomes `static::`; `POSTFIX_myhostname` is a convention of some images, and does nothing in others.",
        fix: "Let the entrypoint write the values before Postfix starts, passwords into a file of mode 0600:\n  postconf -e \"myhostname=$MAIL_HOSTNAME\"\n  smtp_sasl_password_maps = texthash:/run/postfix/sasl_passwd",
        verify: "  docker exec CONTAINER postconf -n      # no warning",
    },
    Explained {
        id: "PF003",
        what: "Milters fail closed (`milter_default_action = tempfail`), the service has a healthcheck, TLS is used outward, and the certificate shown is no test certificate.",
        why: "With `accept`, mail leaves unsigned whenever the signer is down, and DMARC rejects it at the receivers. Without a healthcheck nobody notices. Without TLS Gmail marks the mail.",
        wild: "`milter_default_action = accept`, copied since years from page to page; `ssl-cert-snakeoil.pem`, Debian's default.",
        fix: "In main.cf:\n  milter_default_action = tempfail\n  smtp_tls_security_level = may",
        verify: "  docker exec CONTAINER postconf -h milter_default_action smtp_tls_security_level",
    },
    Explained {
        id: "PF004",
        what: "The mail log goes to the container's standard output, or to a volume.",
        why: "The log is the only witness of what receivers said; in the container's own layer it is gone with the container, and `docker logs` shows nothing.",
        wild: "rsyslog in the container, /var/log/mail.log in its layer; or no log at all.",
        fix: "In main.cf, with `postfix start-fg`:\n  maillog_file = /dev/stdout",
        verify: "  docker logs CONTAINER | grep postfix/",
    },
    Explained {
        id: "DEV001",
        what: "No mail catcher (Mailpit, MailHog, smtp4dev and the like) in a Compose file that is meant for production.",
        why: "A catcher takes every message and delivers none; nobody complains but the people who wait for their mail. Its web page shows all of it, passwords included.",
        wild: "A development file that became the production file; `SMTP_HOST=mailpit` left in its environment.",
        fix: "Put it into compose.override.yaml or compose.dev.yaml, or give it a profile:\n  profiles: [dev]",
        verify: "  docker compose config --services",
    },
];

"""pyspf's opinion of sessions on stdin (address, MAIL FROM, HELO, separated by tabs), one result a line."""

import io
import sys

import dns.resolver
import spf

resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers = ["127.0.0.1"]
resolver.port = int(sys.argv[1])
resolver.lifetime = 1.0
resolver.search = []


def lookup(name, qtype, tcpfallback=True, timeout=30):
    if any(not 0 < len(label) < 64 for label in name.rstrip(".").split(".")):
        return []
    found = []
    try:
        answer = resolver.resolve(dns.name.from_text(name), qtype)
    except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
        return []
    except dns.exception.DNSException as error:
        raise spf.TempError("DNS: %s" % error)
    # The chain was followed by the server; pyspf is shown the answer under the name it asked for.
    for data in answer:
        if qtype in ("TXT", "SPF"):
            found.append(((name, qtype), data.strings))
        elif qtype in ("A", "AAAA"):
            found.append(((name, qtype), data.address))
        elif qtype == "MX":
            found.append(((name, qtype), (data.preference, data.exchange.to_text(True))))
        elif qtype == "PTR":
            found.append(((name, qtype), data.target.to_text(True)))
    return found


spf.DNSLookup = lookup
stdin = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8")
for line in stdin:
    ip, sender, helo = line.rstrip("\n").split("\t")
    try:
        result = spf.check2(i=ip, s=sender, h=helo, timeout=10, querytime=0)[0]
    except Exception as error:
        result = "crashed: %r" % error
    print(result, flush=True)

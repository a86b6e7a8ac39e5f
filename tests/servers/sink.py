"""Takes mail by SMTP and verifies every message the moment it arrives, with dkimpy.

    sink.py ADDRESS:PORT RESOLVER_ADDRESS:PORT FILE

Appends one JSON line per message to FILE: id (X-Test-Id), selector, result, why, time. The results:

    pass       one signature, by the domain of From, and it is valid
    fail       a signature that is not valid, or whose key is not there
    unsigned   no signature
    tempfail   the resolver did not answer, so nothing is known

Says "listening" on stdout once it does, and ends when its stdin is closed: with whoever started it.
"""

import email.utils
import json
import socketserver
import sys
import threading
import time

import dkim
import dns.exception
import dns.resolver

ADDRESS, RESOLVER = [(host, int(port)) for host, _, port in (arg.rpartition(":") for arg in sys.argv[1:3])]
FILE = sys.argv[3]
WRITING = threading.Lock()


class NoAnswer(Exception):
    pass


def resolver():
    asking = dns.resolver.Resolver(configure=False)
    asking.nameservers, asking.port = [RESOLVER[0]], RESOLVER[1]
    asking.cache = None  # what is cached is the resolver's affair
    asking.lifetime = 5
    return asking


def look_up(name, timeout=5):
    try:
        answer = resolver().resolve(name.decode(), "TXT")
        return b"".join(next(iter(answer)).strings)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return None
    except dns.exception.DNSException as error:
        raise NoAnswer(repr(error))


def verdict(message):
    """(selector, result, why)"""
    fields, _ = dkim.rfc822_parse(message)
    signatures = [value for name, value in fields if name.lower() == b"dkim-signature"]
    if not signatures:
        return None, "unsigned", ""
    tags = dkim.util.parse_tag_value(signatures[0])
    selector = tags.get(b"s", b"").decode()
    senders = [value.decode() for name, value in fields if name.lower() == b"from"]
    domain = email.utils.parseaddr(senders[0])[1].rpartition("@")[2]
    if len(signatures) != 1 or tags.get(b"d", b"").decode() != domain:
        return selector, "fail", "not exactly one signature of the domain of From"
    try:
        valid = dkim.DKIM(message).verify(dnsfunc=look_up)
        return selector, "pass" if valid else "fail", "" if valid else "the signature is not valid"
    except NoAnswer as error:
        return selector, "tempfail", str(error)
    except dkim.DKIMException as error:
        return selector, "fail", str(error)


class Session(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text + b"\r\n")

    def handle(self):
        self.say(b"220 sink")
        while line := self.rfile.readline():
            verb = line.strip().upper().split(b" ")[0]
            if verb == b"DATA":
                self.say(b"354 go on")
                self.receive()
                self.say(b"250 taken")
            elif verb == b"QUIT":
                return self.say(b"221 bye")
            else:
                self.say(b"250 ok")

    def receive(self):
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b".") else line)
        message = b"".join(lines)
        ids = [line.split(b":", 1)[1] for line in lines if line.lower().startswith(b"x-test-id:")]
        selector, result, why = verdict(message)
        entry = {
            "id": ids[0].strip().decode() if ids else "",
            "selector": selector,
            "result": result,
            "why": why,
            "time": time.time(),
        }
        with WRITING, open(FILE, "a") as file:
            file.write(json.dumps(entry) + "\n")


class Sink(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


with Sink(ADDRESS, Session) as sink:
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    print("listening", flush=True)
    sys.stdin.read()

"""The application's mail: half of it with a connection each, half over sessions that stay open for some seconds.

    load.py RATE            until standard input ends; then prints {"accepted": [...], "tries": n} as JSON

A message that is not accepted is sent again until it is, as an application with a queue does; "tries" counts those.
"""

import json
import os
import smtplib
import ssl
import sys
import threading
import time

RATE = int(sys.argv[1])
WORKERS, SESSION_SECONDS = 8, 6
SENDER = os.environ["MAIL_FROM"]
DOMAIN = SENDER.split("@")[1]
stop = threading.Event()
accepted, tries, lock = [], [0], threading.Lock()
with open(os.environ["SMTP_CREDENTIALS_FILE"]) as file:
    LOGIN = file.readline().rstrip("\n").split(":", 1)
TLS = ssl.create_default_context(cafile=os.environ["SMTP_CA_FILE"])
# In a Swarm on one machine the server is reached by an address.
TLS.check_hostname = os.environ.get("SMTP_ANY_NAME") is None


def session():
    smtp = smtplib.SMTP(os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"]), "app.invalid", timeout=60)
    smtp.starttls(context=TLS)
    smtp.login(*LOGIN)
    return smtp


def message(ident, to):
    return (
        "From: Application <%s>\r\nTo: %s\r\nSubject: number %s\r\nDate: Mon, 01 Jun 2026 12:00:00 +0000\r\n"
        "Message-ID: <%s@%s>\r\nX-Test-Id: %s\r\n\r\nHello,\r\n\r\nthis is message %s.\r\n"
        % (SENDER, to, ident, ident, DOMAIN, ident, ident)
    )


def send(smtp, ident, to="someone@sink.example"):
    smtp.sendmail(SENDER, [to], message(ident, to))
    with lock:
        accepted.append(ident)


def worker(number):
    """One message after the other; every second worker keeps its session for a while."""
    interval, keeps = WORKERS / RATE, number % 2 == 0
    begin, count, kept, born = time.monotonic() + interval * number / WORKERS, 0, None, 0
    while not stop.is_set():
        time.sleep(max(0, begin + interval * count - time.monotonic()))
        ident = "%s-%d-%d" % ("kept" if keeps else "fresh", number, count)
        count += 1
        while True:
            try:
                if kept is None or time.monotonic() - born > SESSION_SECONDS:
                    if kept:
                        kept.quit()
                    kept, born = session(), time.monotonic()
                send(kept, ident)
                if not keeps:
                    kept.quit()
                    kept = None
                break
            except (OSError, smtplib.SMTPException) as error:
                print(ident, repr(error), file=sys.stderr, flush=True)
                kept = None
                with lock:
                    tries[0] += 1
                time.sleep(0.5)
    if kept:
        kept.quit()


if len(sys.argv) > 2:
    smtp = session()
    send(smtp, sys.argv[2], sys.argv[3])
    smtp.quit()
else:
    threads = [threading.Thread(target=worker, args=(n,)) for n in range(WORKERS)]
    for thread in threads:
        thread.start()
    print("started", flush=True)
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"accepted": accepted, "tries": tries[0]}), flush=True)

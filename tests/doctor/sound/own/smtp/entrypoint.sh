#!/bin/sh
set -e
postconf -F '*/*/chroot=n'
exec postfix start-fg

#!/bin/sh
envsubst < /main.cf > /etc/postfix/main.cf
env | grep ^POSTFIX_ | while IFS='=' read -r name value; do postconf -e "${name#POSTFIX_}=$value"; done
exec postfix start-fg

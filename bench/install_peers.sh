#!/bin/sh
# Installs, on Debian and Ubuntu, the programs that the bench measures rangecache against, and wrk, which makes the load.
# None of them is needed: what is absent is left out of the tables. Services that packages start are stopped again.
set -eu

PACKAGES="wrk nginx-light varnish trafficserver squid-openssl rclone xrootd-server xrootd-plugins xrootd-client-plugins"

apt-get update -qq
# shellcheck disable=SC2086 # a list of words
apt-get install -y --no-install-recommends $PACKAGES
if [ -d /run/systemd/system ]; then
    systemctl disable --now nginx varnish varnishncsa trafficserver squid 2>/dev/null || true
fi

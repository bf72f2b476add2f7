#!/bin/sh
# Stops the service before it is removed. Debian passes "remove" and RPM 0, and something else before an upgrade.
set -e
case $1 in
remove | 0) systemctl disable --now bilibili_exporter.service || true ;;
esac

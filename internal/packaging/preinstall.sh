#!/bin/sh
# Creates the user of the service before the files that it must be able to read are unpacked.
set -e
echo 'u bilibili_exporter - "Prometheus exporter" /var/lib/bilibili_exporter' | systemd-sysusers -

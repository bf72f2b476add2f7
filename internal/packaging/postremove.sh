#!/bin/sh
# Removes the token, the state and the user when the package is purged, which RPM does not know.
set -e
if [ "$1" = purge ]; then
	rm -rf /etc/bilibili_exporter /var/lib/bilibili_exporter
	if getent passwd bilibili_exporter >/dev/null; then
		userdel bilibili_exporter
	fi
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi

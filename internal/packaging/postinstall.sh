#!/bin/sh
# Restarts the service after an upgrade. The first installation does not start it, because it needs a token and users.
# Debian passes "configure" and the former version, RPM the number of installed versions.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart bilibili_exporter.service || true
fi
case "$1 $2" in
"configure " | "1 ")
	echo "Write the token to /etc/bilibili_exporter/token and users to /etc/bilibili_exporter/bilibili_exporter.yml."
	echo "Then run: systemctl enable --now bilibili_exporter"
	;;
esac
